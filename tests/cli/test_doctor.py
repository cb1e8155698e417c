"""`swapbench doctor`, on this machine."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swapbench.base.errors import Exit, WorkerError
from swapbench.cli import app


def test_every_line_is_fine_or_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path))
    result = CliRunner().invoke(app, ["doctor", "--json", "--strict"])
    document = json.loads(result.stdout)
    todo = [check for check in document["checks"] if check["status"] == "advice"]
    assert all(check["finding"] for check in document["checks"])
    assert all(check["advice"] for check in todo)
    assert result.exit_code == (6 if todo else 0)
    assert {"load", "memory", "MLX", "Metal", "the probe's own cost", "page cache"} <= {
        check["name"] for check in document["checks"]
    }


@pytest.mark.skipif(sys.platform != "linux", reason="MLX computes on the GPU here, not on the CPU")
def test_a_device_that_is_wanted_and_not_used_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path))
    assert CliRunner().invoke(app, ["doctor", "--device", "cpu"]).exit_code == Exit.OK
    failed = CliRunner().invoke(app, ["doctor", "--device", "gpu"])
    assert isinstance(failed.exception, WorkerError)
    assert failed.exception.exit_code == Exit.FAILED
    assert "not on the gpu" in str(failed.exception)
    assert "the probe's own cost" in failed.stdout


def test_without_a_home_it_tells_all_that_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SWAPBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    result = CliRunner().invoke(app, ["doctor", "--json", "--results", str(tmp_path)])
    assert result.exit_code == Exit.OK
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert {"load", "memory", "MLX", "disk for results"} <= set(checks)
    assert checks["disk for models"]["finding"].startswith("this user has no home folder")

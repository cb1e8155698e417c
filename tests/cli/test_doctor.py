"""`swapbench doctor`, on this machine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

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

"""`swapbench doctor`, `probe` and `selfcheck`, on this machine."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swapbench.base.errors import Exit, UsageError, WorkerError
from swapbench.cli import app
from swapbench.machine import selfcheck, surroundings
from swapbench.machine.environment import Limits, Rate, Volume, save_limits, this_machine
from swapbench.machine.selfcheck import CLAIMS, Claim, Prepared, Selfcheck
from swapbench.machine.surroundings import Examination


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Examination:
    """This machine, by a real child."""
    return surroundings.examine(tmp_path_factory.mktemp("models"))


@pytest.fixture
def once(examined: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor has no child of its own."""
    monkeypatch.setattr(surroundings, "examine", lambda _models: examined)


@pytest.mark.usefixtures("once")
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
@pytest.mark.usefixtures("once")
def test_a_device_that_is_wanted_and_not_used_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path))
    assert CliRunner().invoke(app, ["doctor", "--device", "cpu"]).exit_code == Exit.OK
    failed = CliRunner().invoke(app, ["doctor", "--device", "gpu"])
    assert isinstance(failed.exception, WorkerError)
    assert failed.exception.exit_code == Exit.FAILED
    assert "not on the gpu" in str(failed.exception)
    assert "the probe's own cost" in failed.stdout


@pytest.mark.usefixtures("once")
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


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["probe", "--folder", str(tmp_path / "typo")])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"{tmp_path}/typo: no such folder; --folder chooses another place"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = CliRunner().invoke(app, ["probe", "--folder", str(file / "below")])
    assert isinstance(result.exception, UsageError)
    assert "below" in str(result.exception)
    assert "--folder chooses another place" in str(result.exception)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where things are tried: on a volume that was probed."""
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))
    models = tmp_path / "models"
    models.mkdir()
    disk = Rate(kind="disk", how="queue depth 1", n=1, low=2.0, median=2.0, high=2.0)
    limits = Limits(
        machine=this_machine(), volume=Volume.of(models), measured_at=datetime.now(UTC), rates=(disk,)
    )
    save_limits(limits, tmp_path / "cache")
    return models


def tried(monkeypatch: pytest.MonkeyPatch, *claims: Claim) -> None:
    monkeypatch.setattr(selfcheck, "CLAIMS", claims)


def test_the_file_for_an_issue_and_the_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [claim for claim in CLAIMS if claim.key in ("release", "full_disk")]
    tried(monkeypatch, Claim("no_such_check", "what should be", "ledgers.py"), *known)
    done = CliRunner().invoke(app, ["selfcheck", "--folder", str(folder), "--json"])
    assert done.exit_code == Exit.FAILED, done.output
    found = Selfcheck.model_validate_json(done.stdout)
    rows = [(row.claim, row.result) for row in found.rows]
    assert rows == [("no_such_check", "wrong"), ("full_disk", "right"), ("release", "right")]
    assert found.rows[0].finding == "KeyError: 'no_such_check'"
    assert found.file_system == Volume.of(folder).file_system
    assert {"mlx", "mlx-lm"} <= found.versions.keys()
    assert "right: full_disk: File too large" in done.stderr
    assert not list(folder.iterdir())


def test_where_nothing_is_wrong_it_is_fine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried(monkeypatch, *(claim for claim in CLAIMS if claim.key == "release"))
    monkeypatch.setattr(selfcheck, "_prepared", lambda _scratch: Prepared(versions={}, device="cpu"))
    done = CliRunner().invoke(app, ["selfcheck", "--folder", str(folder)])
    assert done.exit_code == Exit.OK, done.output
    assert "1 right, 0 wrong, 0 not here" in done.stdout


def test_a_folder_that_is_not_there_is_refused() -> None:
    refused = CliRunner().invoke(app, ["selfcheck", "--folder", "nowhere"])
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "nowhere: no such folder; --folder chooses another place"

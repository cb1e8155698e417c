"""`swapbench selfcheck`, with real children; all claims but two are tried in tests/worker/selfcheck."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swapbench.base.errors import Exit, UsageError
from swapbench.cli import app
from swapbench.machine.doctor import selfcheck
from swapbench.machine.doctor.selfcheck import CLAIMS, Claim, Selfcheck
from swapbench.machine.environment import this_machine
from swapbench.machine.limits import Limits, Rate, Volume, save


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
    save(limits, tmp_path / "cache")
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
    done = CliRunner().invoke(app, ["selfcheck", "--folder", str(folder)])
    assert done.exit_code == Exit.OK, done.output
    assert "1 right, 0 wrong, 0 not here" in done.stdout


def test_a_folder_that_is_not_there_is_refused() -> None:
    refused = CliRunner().invoke(app, ["selfcheck", "--folder", "nowhere"])
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "nowhere: no such folder; --folder chooses another place"

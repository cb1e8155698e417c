"""Clients that go on sending to real engines, through the real CLI."""

from pathlib import Path

import pytest

from swapbench.findings import analyse
from swapbench.store import list_runs, read
from tests.e2e.conftest import UNPROVEN, Cli
from tests.frames import frame

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_clients_are_answered_by_the_old_or_the_new_model_and_nobody_is_lost(
    cli: Cli, tmp_path: Path
) -> None:
    settings = ("rate_per_s=6.0", "clients=3", "agents=0", "requests=0", "drain_deadline_s=0.0")
    sets = [part for setting in settings for part in ("--set", f"workload.{setting}")]
    done = cli("run", "quick", "--rounds", "2", "--json", *UNPROVEN, *sets)
    assert done.returncode == 0, done.stderr
    ((folder, _),) = list_runs(tmp_path / "results")
    run = read(folder)
    assert set(frame(run.requests)["outcome"]) == {"answered"}
    assert (frame(run.swaps)["sent_requests"].sum(), frame(run.swaps)["lost_requests"].sum()) == (
        len(run.requests),
        0,
    )
    for felt in analyse(run).clients:
        assert felt.answered_by_new > 0
        assert felt.sent == felt.answered_by_old + felt.answered_by_new

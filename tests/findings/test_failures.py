"""What failed swaps cost."""

from pathlib import Path

from swapbench.base.errors import Exit
from swapbench.base.phases import Phase
from swapbench.findings import analyse, exit_code
from swapbench.wire.events import PhaseMeasured
from tests.findings.recording import SMALL_BYTES, Recording, reading


def test_a_rolled_back_swap_costs_what_its_row_says(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    before = PhaseMeasured(
        round=1,
        scenario="up",
        phase=Phase.DRAIN,
        start_s=0,
        seconds=0.1,
        before=reading(SMALL_BYTES),
        after=reading(SMALL_BYTES),
    )
    recording.writer.add_phase(before, False, recording._scenarios["up"], "stock")
    recording.failed_swap(
        1,
        "up",
        status="rolled_back",
        rollback_s=2.5,
        fault="missing-shard",
        readable_caches=3,
        broken_caches=1,
        settled=reading(SMALL_BYTES + 1000),
    )
    (failure,) = analyse(recording.run()).failures
    assert (failure.fault, failure.back_s) == ("missing-shard", 2.5)
    assert (failure.readable_caches, failure.broken_caches) == (3, 1)
    assert failure.mlx_growth_bytes == 1000


def test_a_refused_swap_costs_nothing_and_still_is_a_failure(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up", status="refused", failed_phase=None, error="large does not fit")
    findings = analyse(recording.run())
    assert findings.failures[0].back_s == 0
    assert findings.counts.refused == 1
    assert findings.problems[0].kind == "refused"
    assert exit_code(findings) is Exit.FAILED


def test_where_the_old_model_did_not_come_back_there_is_no_time(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up")
    assert analyse(recording.run()).failures[0].back_s is None

"""Before, peak, after, and what unload did not give back."""

from pathlib import Path

import pytest

from swapbench.findings import analyse
from swapbench.findings.memory import LedgerSummary, ScenarioMemory
from tests.findings.recording import LARGE_BYTES, SMALL_BYTES, Recording, reading

MB = 1_000_000
# MLX active around the phases of a swap down: 7 GB before, 20 MB left after unload, 270 MB after load.
DOWN = [LARGE_BYTES] * 4 + [20 * MB] + [SMALL_BYTES] * 4


def down(recording: Recording) -> ScenarioMemory:
    return analyse(recording.run()).memory[1]


def points(summary: LedgerSummary) -> list[float | None]:
    values = (summary.before, summary.peak, summary.after_unload, summary.after)
    return [None if value is None else value.point for value in values]


def test_a_ledger_is_followed_through_the_swap(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    active, _cache, footprint, _available = down(recording).ledgers
    assert points(active) == [LARGE_BYTES, LARGE_BYTES, 20 * MB, SMALL_BYTES]
    assert points(footprint) == [LARGE_BYTES + 100 * MB] * 2 + [120 * MB, SMALL_BYTES + 100 * MB]


def test_what_is_not_reclaimed_is_told_against_the_worker_without_a_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    for ledger in down(recording).ledgers:
        expected = 0 if ledger.ledger == "mlx_cache" else 20 * MB
        assert ledger.not_reclaimed is not None
        assert ledger.not_reclaimed.point == expected
        assert ledger.returned is not None
        assert ledger.returned.point == (0 if ledger.ledger == "mlx_cache" else LARGE_BYTES - 20 * MB)


def test_of_what_is_available_the_least_is_the_extreme(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    available = down(recording).ledgers[3]
    assert available.peak is not None
    assert available.peak.point == 20_000 * MB - LARGE_BYTES


def test_a_peak_between_two_phases_is_seen_by_the_samples(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.sample(0, "down", t_s=2.0, active=9_000 * MB)
    recording.swap(0, "down", active=DOWN)
    active = down(recording).ledgers[0]
    assert active.peak is not None
    assert active.peak.point == 9_000 * MB


def test_ledgers_that_were_not_recorded_are_said_to_be_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down")
    assert not any(ledger.recorded for ledger in down(recording).ledgers)


@pytest.mark.parametrize(
    ("left", "outcome"), [(0, "pass"), (300 * MB, "pass"), (400 * MB, "fail"), (LARGE_BYTES, "fail")]
)
def test_the_share_given_back_is_judged(tmp_path: Path, left: int, outcome: str) -> None:
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed", "at_least": 0.95}])
    recording.swap(0, "down", active=[LARGE_BYTES] * 4 + [left] + [SMALL_BYTES] * 4)
    verdict = analyse(recording.run()).verdicts[0]
    assert verdict.outcome == outcome


def test_a_small_models_footprint_is_not_judged_but_its_mlx_memory_is(tmp_path: Path) -> None:
    # 2 MB come back to MLX; that the process gives none of it back to the system says nothing.
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed"}])
    recording.swap(0, "down", active=[2 * MB] * 4 + [0] + [MB] * 4)
    small = recording.writer.info.models[1].model_copy(update={"weight_bytes": 2 * MB})
    run = recording.run(models=(recording.writer.info.models[0], small))
    verdict = analyse(run).verdicts[0]
    assert verdict.outcome == "pass"
    assert "MLX active" in verdict.reason


def test_without_ledgers_nothing_is_claimed_about_memory(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[{"kind": "memory-reclaimed"}])
    recording.swap(0, "down")
    assert analyse(recording.run()).verdicts[0].outcome == "inconclusive"


def test_of_several_workers_the_median_is_what_one_weighs_without_a_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "down", active=DOWN)
    recording.writer.update(baselines=(reading(0), reading(2 * MB), reading(9 * MB)))
    active, *_ = down(recording).ledgers
    assert active.not_reclaimed is not None
    assert active.not_reclaimed.point == 18 * MB

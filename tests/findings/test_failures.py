"""Failed swaps and what they cost; known faults, each told by its traces."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import Exit
from swapbench.base.phases import Phase
from swapbench.findings import analyse, exit_code
from swapbench.findings.failures import find_symptoms
from swapbench.findings.swaps import swaps_of
from swapbench.wire.swap import PhaseMeasured, Reading
from tests.findings.recording import BASELINE, LARGE_BYTES, SMALL_BYTES, Recording, reading
from tests.measured import planned


def test_a_rolled_back_swap_costs_what_its_row_says(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    before = PhaseMeasured(
        swap=planned("up", 1, strategy="stock", from_model="small", to_model="large"),
        phase=Phase.DRAIN,
        start_s=0,
        seconds=0.1,
        before=reading(SMALL_BYTES),
        after=reading(SMALL_BYTES),
    )
    recording.writer.add(before)
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


def kinds(recording: Recording) -> list[str]:
    return [symptom.kind for symptom in analyse(recording.run()).symptoms]


def around_unload(before: int, after: int, end: int) -> list[int]:
    """MLX active before the swap and after each of its phases."""
    return [before, before, before, before, after, end, end, end, end]


def cycle(recording: Recording, rounds: int, kept: int = 0, **fields: Any) -> None:
    """Up and down again, `kept` bytes staying after every unload."""
    for number in range(rounds):
        small, large = SMALL_BYTES + kept, LARGE_BYTES + kept
        recording.swap(number, "up", active=around_unload(small, kept, large), **fields)
        recording.swap(number, "down", active=around_unload(large, kept, small), **fields)


def test_a_clean_run_has_no_symptoms(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    cycle(recording, 3, kv_capacity_bytes=2 << 30, longest_stall_s=0.1)
    assert kinds(recording) == []


def test_a_boot_model_that_is_never_freed_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    cycle(recording, 3, kept=SMALL_BYTES)
    (symptom,) = analyse(recording.run()).symptoms
    assert symptom.kind == "boot model kept"
    assert "as much as small" in symptom.text


@pytest.mark.parametrize(
    ("released", "named"),
    [(reading(0, over_baseline=7 << 20), []), (reading(7 << 20), ["boot model kept"])],
    ids=["by the process", "by MLX"],
)
def test_what_every_process_keeps_is_no_mini_model(
    tmp_path: Path, released: Reading, named: list[str]
) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(number, "up", released=released)
    swaps = swaps_of(recording.run())
    baseline = {"mlx_active": 0.0, "footprint": float(BASELINE.footprint_bytes or 0)}
    assert [s.kind for s in find_symptoms(swaps, baseline, {"small": 7 << 20})] == named


@pytest.mark.parametrize(("beyond_mib", "named"), [(100, ["earlier model kept"]), (20, [])])
def test_a_server_that_holds_more_than_a_fresh_one_keeps_an_earlier_model(
    beyond_mib: int, named: list[str], tmp_path: Path
) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        held = Reading(footprint_bytes=(109 + beyond_mib) << 20)
        recording.swap(number, "up", settled=held, fresh_footprint_bytes=109 << 20)
    assert kinds(recording) == named


def test_growth_from_swap_to_swap_is_a_leak_and_no_boot_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(6):
        kept = (number + 1) * SMALL_BYTES
        recording.swap(number, "up", active=around_unload(SMALL_BYTES + kept, kept, LARGE_BYTES + kept))
    assert kinds(recording) == []


def test_memory_that_only_the_process_still_holds_is_the_allocators(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(number, "up", released=reading(0, over_baseline=SMALL_BYTES))
        recording.swap(number, "down", released=reading(0, over_baseline=LARGE_BYTES // 2))
    found = analyse(recording.run()).symptoms
    assert [symptom.kind for symptom in found] == ["allocator keeps memory"] * 2
    assert "after large is unloaded the process keeps 3.26 GiB" in found[1].text


def test_what_a_strategy_says_that_it_keeps_is_no_fault(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(
            number, "up", released=reading(0, over_baseline=SMALL_BYTES), kept_bytes=SMALL_BYTES - (9 << 20)
        )
        recording.swap(
            number, "down", released=reading(0, over_baseline=LARGE_BYTES), kept_bytes=LARGE_BYTES // 2
        )
    (symptom,) = analyse(recording.run()).symptoms
    assert symptom.kind == "allocator keeps memory"
    assert "after large is unloaded the process keeps 3.26 GiB" in symptom.text


def test_some_tens_of_megabytes_are_what_every_allocator_keeps(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(number, "up", released=reading(0, over_baseline=90 << 20))
    assert kinds(recording) == []


def test_a_budget_that_differs_in_bytes_between_models_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(2):
        recording.swap(number, "up", kv_capacity_bytes=2 << 30)
        recording.swap(number, "down", kv_capacity_bytes=1 << 30)
    (symptom,) = analyse(recording.run()).symptoms
    assert symptom.kind == "KV budget drifts"
    assert "2.00 GiB for KV caches under large, 1.00 GiB under small" in symptom.text
    # A last swap that didn't record it takes nothing back.
    recording.swap(3, "down")
    assert kinds(recording) == ["KV budget drifts"]


def test_a_budget_that_falls_little_by_little_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(4):
        for scenario in ("up", "down"):
            recording.swap(number, scenario, kv_capacity_bytes=round((2 << 30) * 0.97**number))
    (symptom,) = analyse(recording.run()).symptoms
    assert symptom.kind == "KV budget drifts"
    assert (
        symptom.text == "2.00 GiB for KV caches under large at first, 1.83 GiB after 4 swaps to it: it falls"
    )


def test_a_budget_that_is_gone_under_one_model_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", kv_capacity_bytes=0)
    recording.swap(0, "down", kv_capacity_bytes=2 << 30)
    assert kinds(recording) == ["KV budget drifts"]


def test_whole_blocks_never_fill_a_budget_quite_and_that_is_no_drift(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", kv_capacity_bytes=2 << 30)
    recording.swap(0, "down", kv_capacity_bytes=(2 << 30) - (40 << 20))
    assert kinds(recording) == []


def test_a_health_check_that_waits_for_the_whole_swap_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", longest_stall_s=2.9)
    recording.swap(0, "down", longest_stall_s=0.9)
    (symptom,) = analyse(recording.run()).symptoms
    assert (symptom.kind, symptom.text[:3]) == ("health checks stall", "up:")


def test_a_target_with_which_nothing_succeeds_after_a_failure_is_wedged(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    for number in range(1, 4):
        recording.failed_swap(number, "up")
    (symptom,) = analyse(recording.run()).symptoms
    assert symptom.kind == "wedged"
    assert "since up of round 1 failed: 3 swaps in a row" in symptom.text


def test_a_strategy_that_fails_beside_others_that_succeed_wedges_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "direct"])
    for number in range(3):
        recording.swap(number, "up", strategy="stock")
        recording.failed_swap(number, "up", strategy="direct")
        recording.failed_swap(number, "down", strategy="direct")
    assert kinds(recording) == []


def test_swaps_that_were_refused_never_began(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    for number in range(1, 5):
        recording.failed_swap(number, "up", status="refused")
    assert kinds(recording) == []


def test_failures_with_successes_between_them_are_no_wedge(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.failed_swap(number, "up")
        recording.swap(number, "down")
    assert kinds(recording) == []


def test_a_symptom_counts_when_strict(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[{"kind": "any-under-target"}])
    cycle(recording, 2, longest_stall_s=3.0)
    findings = analyse(recording.run())
    assert findings.symptoms
    assert (exit_code(findings), exit_code(findings, strict=True)) == (Exit.OK, Exit.INCONCLUSIVE)

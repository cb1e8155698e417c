"""How far a run is, from its events alone."""

from collections.abc import Iterable
from statistics import median
from typing import Any

import pytest

from swapbench.findings.progress import Course, RunProgress
from swapbench.wire.events import RoundStarted, StepStarted, SwapStarted, TurnStarted
from swapbench.wire.swap import MemorySample, Reading, SwapFinished
from tests.measured import finished, planned

UP_AND_DOWN = tuple(("", number, "stock", scenario) for number in range(3) for scenario in ("up", "down"))


def course(swaps: tuple[Any, ...] = UP_AND_DOWN, **changes: Any) -> Course:
    facts: dict[str, Any] = {
        "name": "quick",
        "rounds": 3,
        "target_s": 30.0,
        "memory_bytes": 24 * 2**30,
    } | changes
    return Course(swaps=swaps, **facts)


def done(scenario: str, number: int = 0, total_s: float | None = 3.0, **changes: Any) -> SwapFinished:
    return finished(
        **({"round": number, "scenario": scenario, "strategy": "stock", "total_s": total_s} | changes)
    )


def test_before_anything_was_done_nobody_knows_how_long_it_takes() -> None:
    standing = RunProgress(course(), 100.0).standing(107.0)
    assert (standing.swaps_done, standing.rounds_left, standing.left_s) == (0, 3, None)
    assert (standing.step, standing.elapsed_s) == ("starting", 7.0)


def test_what_a_swap_took_is_what_others_of_its_kind_will_take() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(TurnStarted(turn=0), 5.0)
    progress.on(done("up"), 25.0)  # 20 s
    progress.on(done("down"), 30.0)  # 5 s
    assert progress.standing(30.0).left_s == 50.0
    # What the swap that is going on has had is no longer to come, and it never takes less than nothing.
    assert progress.standing(42.0).left_s == 38.0
    assert progress.standing(80.0).left_s == 30.0


def test_a_kind_that_was_not_seen_yet_takes_what_the_others_took() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(TurnStarted(turn=0), 0.0)
    progress.on(done("up"), 10.0)
    assert progress.standing(10.0).left_s == 50.0


def test_starting_the_next_worker_is_part_of_what_a_swap_takes() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(TurnStarted(turn=0), 5.0)
    progress.on(done("up"), 15.0)  # 10 s
    progress.on(TurnStarted(turn=1), 40.0)
    progress.on(done("down"), 45.0)  # 30 s
    assert progress.standing(45.0).left_s == 2 * (10.0 + 30.0)


@pytest.mark.parametrize("status", ["failed", "rolled_back"])
def test_what_a_failure_took_is_no_measure_where_anything_went_well(status: Any) -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(TurnStarted(turn=0), 0.0)
    progress.on(done("down", status=status), 900.0)  # it hung
    assert progress.standing(900.0).left_s == 5 * 900.0
    progress.on(done("up"), 910.0)
    assert progress.standing(910.0).left_s == 4 * 10.0
    progress.on(done("down", 1), 914.0)
    assert progress.standing(914.0).left_s == 2 * 10.0 + 4.0


def test_one_median_is_taken_of_each_kind_however_many_swaps_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def counted(values: Iterable[float]) -> float:
        taken.append(1)
        return median(values)

    monkeypatch.setattr("swapbench.findings.progress.median", counted)
    swaps = [("", number, "stock", scenario) for number in range(500) for scenario in ("up", "down")]
    progress = RunProgress(course(tuple(swaps)), 0.0)
    progress.on(done("up"), 2.0)
    assert progress.standing(2.0).left_s == 999 * 2.0
    assert len(taken) == 3  # up, down, and any


def test_in_the_end_nothing_is_left() -> None:
    progress = RunProgress(course(), 0.0)
    for _, number, _, scenario in UP_AND_DOWN:
        progress.on(done(scenario, number), 1.0)
    standing = progress.standing(1.0)
    assert (standing.swaps_done, standing.rounds_left, standing.left_s) == (6, 0, 0.0)


def test_the_step_that_is_going_on_ticks() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(RoundStarted(swap=planned(round=1, warmup=False)), 1.0)
    progress.on(SwapStarted(swap=planned(round=1, warmup=False, scenario="up", strategy="stock")), 1.0)
    progress.on(StepStarted(step="load"), 2.0)
    standing = progress.standing(4.5)
    assert (standing.round, standing.scenario, standing.step, standing.step_s) == (
        "round 2/3",
        "up",
        "load",
        2.5,
    )
    assert standing.in_phase
    progress.on(StepStarted(step="settling"), 5.0)
    assert not progress.standing(5.0).in_phase


def test_memory_is_the_workers_own_reading() -> None:
    progress = RunProgress(course(), 0.0)
    for observer, held in (("worker", 7), ("parent", 9)):
        sample = {"swap": planned("up"), "t_s": 1.0, "observer": observer}
        progress.on(MemorySample(ledgers=Reading(footprint_bytes=held, mlx_active_bytes=5), **sample), 1.0)
    standing = progress.standing(1.0)
    assert (standing.process_bytes, standing.mlx_bytes) == (7, 5)


def test_each_kind_of_swap_has_a_row_with_those_that_went_well() -> None:
    progress = RunProgress(course(), 0.0)
    for event in (
        done("up"),
        done("down"),
        done("up", 1, 4.0),
        done("up", 2, status="failed"),
    ):
        progress.on(event, 1.0)
    up, down = progress.standing(1.0).rows
    assert (up.label, up.totals_s, up.last.status) == ("up", (3.0, 4.0), "failed")
    assert (down.label, down.totals_s) == ("down", (3.0,))
    assert up.changed > down.changed


@pytest.mark.parametrize(
    ("sides", "title", "label"),
    [
        (None, "warm-up 1/1, B", "up, B"),
        ({"A": "base", "B": "change"}, "warm-up 1/1, change", "up, change"),
    ],
)
def test_arms_are_called_what_they_are_to_the_user(sides: Any, title: str, label: str) -> None:
    progress = RunProgress(course((("B", 0, "stock", "up"),), arm_labels=sides, warmup=1), 0.0)
    progress.on(RoundStarted(swap=planned(round=0, warmup=True, arm="B")), 0.0)
    progress.on(done("up", arm="B"), 1.0)
    standing = progress.standing(1.0)
    assert standing.round == title
    assert [row.label for row in standing.rows] == [label]


def test_rounds_that_count_are_counted_without_those_before_them() -> None:
    ahead = course(rounds=5, warmup=2)
    begun = [RoundStarted(swap=planned(round=number, warmup=number < 2)) for number in range(5)]
    assert [ahead.round_title(event.swap) for event in begun] == [
        "warm-up 1/2",
        "warm-up 2/2",
        "round 1/3",
        "round 2/3",
        "round 3/3",
    ]


def test_several_strategies_are_told_apart() -> None:
    progress = RunProgress(course((("", 0, "slab", "up"),), several_strategies=True), 0.0)
    progress.on(RoundStarted(swap=planned(round=0, warmup=False, strategy="slab")), 0.0)
    progress.on(done("up", strategy="slab"), 1.0)
    standing = progress.standing(1.0)
    assert standing.round == "round 1/3, slab"
    assert standing.rows[0].label == "up, slab"
    assert standing.swaps_done == 1

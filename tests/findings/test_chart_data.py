"""What charts are drawn from, and how long runs are thinned."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.findings import analyse
from swapbench.findings.chart_data import (
    Dot,
    Dots,
    LadderDots,
    LedgerSeries,
    Pictures,
    SwapTimeline,
    nearest_median,
    pictures_of,
    thinned,
    thinned_keeping_extremes,
    timeline_of,
)
from swapbench.findings.memory import Growth, LeakFinding, SettledPoint
from swapbench.findings.swaps import swaps_of
from swapbench.store import Run, read
from swapbench.wire.swap import MemorySample, Reading
from tests.findings.recording import LARGE_BYTES, Recording
from tests.measured import finished, planned

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"


# Of a swap of which nothing else is told.
TOLD: dict[str, Any] = {
    "swap": planned("up", strategy="stock", from_model="small", to_model="large"),
    "start_s": 1.0,
}


def timeline(run: Run, scenario: str = "up") -> SwapTimeline | None:
    return timeline_of(run, [swap for swap in swaps_of(run) if swap.scenario == scenario])


def test_the_swap_shown_is_the_one_nearest_the_median(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number, load_s in enumerate((9.0, 3.0, 3.4)):
        recording.swap(number, "up", {"load": load_s})
    shown = timeline(recording.run())
    assert shown is not None
    assert (shown.round, shown.n, shown.total_s) == (2, 3, 3.4)


def test_failed_invalid_and_warm_up_swaps_are_never_the_one(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", warmup=True)
    recording.swap(1, "up", valid=False, invalid_reason="not cold")
    recording.failed_swap(2, "up")
    run = recording.run()
    assert nearest_median([swap for swap in swaps_of(run) if swap.counted]) is None
    assert timeline(run) is None


def test_phases_are_in_order_each_with_its_spans_behind_it(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    spans = {"load/read": 1.0, "load/weights": 2.0, "evict/write": 0.1, "evict/write/agent": 0.1}
    recording.swap(0, "up", {"evict": 0.2, "load": 3.0}, spans=spans, first_token_s=0.5)
    shown = timeline(recording.run())
    assert shown is not None
    named = [f"{s.phase}/{s.span}" if s.span else s.phase for s in shown.stretches]
    assert named == [
        *("drain", "evict", "evict/write", "shutdown", "unload", "load", "load/weights", "load/read"),
        *("reconfigure", "update_tag", "reinit", "first_token"),
    ]
    assert shown.end_s == 3.7
    assert not shown.end_to_end


def test_without_recorded_starts_phases_are_laid_end_to_end() -> None:
    shown = timeline(read(REFERENCE), "small-to-large")
    assert shown is not None
    assert shown.end_to_end
    assert shown.ledgers == ()
    ends = [phase.end_s for phase in shown.phases]
    assert [phase.start_s for phase in shown.phases] == [0.0, *ends[:-1]]


def test_ledgers_hold_readings_around_phases_and_the_samples_between(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.sample(0, "up", 2.5, 3 * LARGE_BYTES)
    recording.sample(0, "up", 90.0, 5 * LARGE_BYTES)
    recording.sample(1, "up", 2.5, 7 * LARGE_BYTES)
    recording.swap(0, "up", {"load": 3.0}, active=[100] * 5 + [LARGE_BYTES] * 4)
    shown = timeline(recording.run())
    assert shown is not None
    (active,) = [series for series in shown.ledgers if series.ledger == "mlx_active"]
    # Swaps of a recording start at 1 s: the sample at 2.5 s is 1.5 s after the request.
    assert (1.5, 3.0 * LARGE_BYTES) in active.points
    assert max(value for _, value in active.points) == 3 * LARGE_BYTES
    assert list(active.points) == sorted(active.points)


def test_of_several_ranks_the_rows_of_all_together_are_drawn(tmp_path: Path) -> None:
    recording = Recording(tmp_path, target="sharded")
    recording.ranks(0, "up", (2.0, 0.5), (2.5, 0.0))
    recording.sample(0, "up", 2.0, LARGE_BYTES)
    recording.add(finished(**TOLD, total_s=2.5))
    shown = timeline(recording.run())
    assert shown is not None
    assert [s.span or s.phase for s in shown.stretches] == ["load", "skew", "barrier"]
    (active,) = [series for series in shown.ledgers if series.ledger == "mlx_active"]
    assert {value for _, value in active.points} == {LARGE_BYTES}


@pytest.mark.parametrize(("target", "most"), [("sharded", 2), ("inprocess", 9)])
def test_who_only_watches_what_swaps_is_not_counted_in(tmp_path: Path, target: str, most: int) -> None:
    recording = Recording(tmp_path, target=target)
    recording.swap(0, "up", {"load": 3.0})
    for observer, held in (("worker", 2 << 30), ("parent", 9 << 30)):
        ledgers = Reading(footprint_bytes=held)
        seen = MemorySample(swap=planned("up"), t_s=2.0, ledgers=ledgers, observer=observer)
        recording.writer.add(seen)
        recording.writer.add(seen.model_copy(update={"t_s": 2.5}))
    run = recording.run()
    (swap,) = swaps_of(run)
    assert swap.extremes["footprint"] == most << 30
    shown = timeline(run)
    assert shown is not None
    (footprint,) = [series for series in shown.ledgers if series.ledger == "footprint"]
    assert max(value for _, value in footprint.points) == most << 30


series = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=400).map(
    lambda values: [(float(t), value) for t, value in enumerate(values)]
)


@given(points=series, most=st.integers(4, 100))
def test_thinning_keeps_ends_order_and_both_extremes(points: list[tuple[float, float]], most: int) -> None:
    kept = thinned_keeping_extremes(points, most)
    assert len(kept) <= most or len(kept) == len(points) <= most
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [t for t, _ in kept] == sorted({t for t, _ in kept})
    assert set(kept) <= set(points)
    for extreme in (min, max):
        assert extreme(v for _, v in kept) == extreme(v for _, v in points)


def test_of_an_even_number_the_faster_of_the_two_in_the_middle_is_shown(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number, load_s in enumerate((9.0, 3.1, 3.0, 1.0)):
        recording.swap(number, "up", {"load": load_s})
    shown = timeline(recording.run())
    assert shown is not None
    assert shown.total_s == 3.0


def test_stock_and_the_fastest_are_drawn_on_one_axis(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"])
    for strategy, load_s in (("stock", 4.0), ("slab", 1.0)):
        recording.swap(0, "up", {"load": load_s}, strategy=strategy)
    run = recording.run()
    timelines = pictures_of(run, analyse(run)).timelines
    assert [(shown.end_s, shown.axis_s) for shown in timelines] == [(4.0, 4.0), (1.0, 4.0)]


def test_a_phase_that_was_entered_again_is_two_stretches_of_one_line(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording._phase(recording._planned(0, "up"), "evict", "", 3.0, 0.5)
    recording.swap(0, "up", {"load": 3.0}, total_s=3.5)
    run = recording.run()
    found = timeline_of(run, swaps_of(run))
    assert found is not None
    evictions = [stretch for stretch in found.phases if stretch.phase == "evict"]
    assert sorted((stretch.start_s, stretch.seconds) for stretch in evictions) == [(0.0, 0.0), (3.0, 0.5)]


def test_every_swap_is_a_dot_of_its_kind_and_failed_ones_are_counted(tmp_path: Path) -> None:
    recording = Recording(tmp_path, warmup=1)
    recording.swap(0, "up", {"load": 4.0}, warmup=True)
    recording.swap(1, "up", {"load": 3.0})
    recording.swap(2, "up", {"load": 2.0}, valid=False, invalid_reason="not cold")
    recording.failed_swap(3, "up")
    run = recording.run()
    up = pictures_of(run, analyse(run)).dots[0]
    assert [(dot.round, dot.seconds, dot.kind) for dot in up.dots] == [
        (0, 4.0, "warm-up"),
        (1, 3.0, "counted"),
        (2, 2.0, "invalid"),
    ]
    assert up.without == 1
    assert up.estimate is not None
    assert (up.estimate.point, up.estimate.n) == (3.0, 1)


def test_outliers_are_marked(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=8)
    for number in range(8):
        recording.swap(number, "up", {"load": 9.0 if number == 5 else 3.0})
    run = recording.run()
    up = pictures_of(run, analyse(run)).dots[0]
    assert [dot.round for dot in up.dots if dot.outlier] == [5]
    assert up.interval is not None


def test_strategies_have_their_dots_in_the_ladders_order(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab", "map"])
    for strategy, load_s in (("stock", 3.0), ("slab", 1.0), ("map", 2.0)):
        recording.swap(0, "up", {"load": load_s}, strategy=strategy)
    run = recording.run()
    pictures = pictures_of(run, analyse(run))
    assert [dots.name for dots in pictures.ladders[0].strategies] == ["slab", "map", "stock"]
    assert [timeline.scenario for timeline in pictures.timelines] == ["up (stock)", "up (slab)"]
    assert pictures.dots == ()


EMPTY = Pictures(command="", timelines=(), dots=(), ladders=(), growth=())


def dots(name: str, swaps: int, seed: int = 1, outliers: tuple[int, ...] = ()) -> Dots:
    """So many rounds, of random length; outliers are no longer than the others."""
    rng = random.Random(seed)
    made = (Dot(number, 3 + rng.random(), "counted", number in outliers) for number in range(swaps))
    return Dots(name, "total", tuple(made), None, None, 0)


def rounds(shown: Dots) -> list[int]:
    return [dot.round for dot in shown.dots]


@pytest.mark.parametrize("scenarios", [1, 2, 25])
def test_every_swap_of_an_ordinary_run_is_drawn(scenarios: int) -> None:
    whole = replace(EMPTY, dots=tuple(dots(f"s{i}", 200) for i in range(scenarios)))
    assert thinned([whole]) == [whole]


def test_every_swap_of_an_ordinary_ladder_is_drawn() -> None:
    strategies = tuple(dots(f"s{i}", 25) for i in range(8))
    whole = replace(EMPTY, ladders=tuple(LadderDots(f"l{i}", strategies) for i in range(50)))
    assert thinned([whole]) == [whole]


def test_of_a_long_run_ends_extremes_and_outliers_are_drawn() -> None:
    whole = dots("up", 2500, outliers=(7, 1234))
    (made,) = thinned([replace(EMPTY, dots=(whole,))])
    (shown,) = made.dots
    assert len(shown.dots) <= 252
    assert shown.left_out == 2500 - len(shown.dots)
    seconds = [dot.seconds for dot in whole.dots]
    telling = {0, 2499, 7, 1234, seconds.index(min(seconds)), seconds.index(max(seconds))}
    assert telling <= set(rounds(shown))
    assert rounds(shown) == sorted(rounds(shown))
    assert set(shown.dots) <= set(whole.dots)


def test_outliers_without_number_are_thinned_too() -> None:
    whole = dots("up", 2500, outliers=tuple(range(0, 2500, 2)))
    (made,) = thinned([replace(EMPTY, dots=(whole,))])
    assert len(made.dots[0].dots) <= 250 + 125


def test_sides_that_are_compared_show_the_same_rounds() -> None:
    wholes = [dots("up", 2500, seed) for seed in (1, 2)]
    made = [pictures.dots[0] for pictures in thinned([replace(EMPTY, dots=(whole,)) for whole in wholes])]
    assert rounds(made[0]) == rounds(made[1])
    assert len(rounds(made[0])) <= 500
    for shown, whole in zip(made, wholes, strict=True):
        longest = max(whole.dots, key=lambda dot: dot.seconds)
        assert longest in shown.dots


def test_a_long_ladder_is_thinned_strategy_by_strategy() -> None:
    whole = replace(EMPTY, ladders=(LadderDots("up", tuple(dots(f"s{i}", 500, i) for i in range(20))),))
    (made,) = thinned([whole])
    assert all(0 < len(shown.dots) <= 150 for shown in made.ladders[0].strategies)
    assert all(len(shown.dots) + shown.left_out == 500 for shown in made.ladders[0].strategies)


def growth(swaps: int) -> Growth:
    line = (0.0, 0.0), (1.0, 1.0)
    points = tuple(SettledPoint(i, "up", 9.0, 5.0 if i == 1000 else 0.0, i > 2) for i in range(swaps))
    finding = LeakFinding("footprint", "clean", "why", swaps, 23, None, None)
    return Growth(finding, points, line, line)


def test_of_settled_memory_the_greatest_is_never_lost() -> None:
    (made,) = thinned([replace(EMPTY, growth=(growth(5000),) * 4)])
    for shown in made.growth:
        assert len(shown.points) <= 500
        assert len(shown.points) + shown.left_out == 5000
        assert max(point.growth_bytes for point in shown.points) == 5.0


def test_a_page_of_many_scenarios_has_fewer_readings_of_each() -> None:
    series = LedgerSeries("footprint", tuple((float(i), 9.0 if i == 300 else 0.0) for i in range(600)))
    timeline = SwapTimeline("up", "a", "b", 0, 1, 1.0, 1.0, 1.0, False, (), (series,) * 6)
    (made,) = thinned([replace(EMPTY, timelines=(timeline,) * 10)])
    shown = [one.points for each in made.timelines for one in each.ledgers]
    assert all(len(points) <= 50 and (300.0, 9.0) in points for points in shown)

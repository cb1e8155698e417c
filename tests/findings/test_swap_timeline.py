"""A swap's timeline, as pictures show it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.findings import analyse
from swapbench.findings.chart_data import pictures_of
from swapbench.findings.swap_timeline import (
    SwapTimeline,
    nearest_median,
    thinned_keeping_extremes,
    timeline_of,
)
from swapbench.findings.swaps import swaps_of
from swapbench.store import Run, read
from swapbench.wire.events import MemorySample, Reading, SwapFinished
from tests.findings.recording import LARGE_BYTES, Recording

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"


def finished(total_s: float) -> SwapFinished:
    """A swap of which nothing else is told."""
    return SwapFinished(
        round=0,
        warmup=False,
        scenario="up",
        strategy="stock",
        from_model="small",
        to_model="large",
        start_s=1.0,
        total_s=total_s,
        settled=Reading(),
    )


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
    recording.add(finished(total_s=2.5))
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
        seen = MemorySample(round=0, scenario="up", t_s=2.0, ledgers=ledgers, observer=observer)
        recording.writer.add_sample(seen)
        recording.writer.add_sample(seen.model_copy(update={"t_s": 2.5}))
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
    recording._phase(0, "up", "stock", False, "evict", "", 3.0, 0.5, Reading(), Reading())
    recording.swap(0, "up", {"load": 3.0}, total_s=3.5)
    run = recording.run()
    found = timeline_of(run, swaps_of(run))
    assert found is not None
    evictions = [stretch for stretch in found.phases if stretch.phase == "evict"]
    assert sorted((stretch.start_s, stretch.seconds) for stretch in evictions) == [(0.0, 0.0), (3.0, 0.5)]

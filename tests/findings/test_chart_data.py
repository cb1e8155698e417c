"""What charts are drawn from, and how long runs are thinned."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.findings import analyse
from swapbench.findings.chart_data import Dot, Dots, LadderDots, Pictures, pictures_of, thinned
from swapbench.findings.memory import Growth, LeakFinding, SettledPoint, SlopeLine
from swapbench.findings.swap_timeline import LedgerSeries, SwapTimeline
from tests.findings.recording import Recording


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
    line = SlopeLine((0.0, 0.0), (1.0, 1.0))
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

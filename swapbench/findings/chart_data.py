"""What charts of a run are drawn from, beside its findings; of long runs, few enough points."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from swapbench.base.phases import HeadlineFigure
from swapbench.findings.findings import Findings
from swapbench.findings.memory import Growth, growth_of
from swapbench.findings.runs import by_cell, cell_name
from swapbench.findings.stability import Outlier
from swapbench.findings.strategies import STOCK, Ladder
from swapbench.findings.swap_timeline import SwapTimeline, thinned_keeping_extremes, timeline_of
from swapbench.findings.swaps import Swap, headline_figure, swaps_of
from swapbench.stats.estimate import Estimate, Interval, estimate, median_interval
from swapbench.store import Run, experiment_of

Kind = Literal["counted", "warm-up", "invalid"]


@dataclass(frozen=True)
class Dot:
    """One swap."""

    round: int
    seconds: float
    kind: Kind
    outlier: bool


@dataclass(frozen=True)
class Dots:
    """The swaps of one scenario, or of one strategy in it.

    `without` have no such figure: they failed. `left_out` have one and no dot, for there are too many.
    """

    name: str
    figure: HeadlineFigure
    dots: tuple[Dot, ...]
    estimate: Estimate | None
    interval: Interval | None
    without: int
    left_out: int = 0

    @property
    def counted(self) -> tuple[Dot, ...]:
        """Those that are in the figures."""
        return tuple(dot for dot in self.dots if dot.kind == "counted")


@dataclass(frozen=True)
class LadderDots:
    """Totals of every swap of every strategy, in the ladder's order."""

    scenario: str
    strategies: tuple[Dots, ...]


def dots_of(
    name: str, swaps: Sequence[Swap], outliers: Iterable[Outlier], figure: HeadlineFigure | None = None
) -> Dots:
    """The headline of each of a scenario's swaps; `figure` where it is compared by another than its own."""
    own = headline_figure([swap for swap in swaps if swap.counted])
    return _dots(name, swaps, figure or own, {o.round for o in outliers if o.scenario == name})


def ladder_dots(ladder: Ladder, swaps: Sequence[Swap], outliers: Sequence[Outlier]) -> LadderDots:
    """The total of each swap, strategy by strategy.

    Args:
        swaps: of cells, as `by_cell` names them.
    """
    strategies = []
    for rung in ladder.rungs:
        cell = cell_name(ladder.scenario, rung.strategy)
        far = {o.round for o in outliers if o.scenario == cell}
        theirs = [swap for swap in swaps if swap.scenario == cell]
        strategies.append(_dots(rung.strategy, theirs, "total", far))
    return LadderDots(ladder.scenario, tuple(strategies))


def _dots(name: str, swaps: Sequence[Swap], figure: HeadlineFigure, outliers: set[int]) -> Dots:
    column = f"{figure}_s"
    dots = [
        Dot(
            swap.round,
            swap.figures[column],
            "counted" if swap.counted else "warm-up" if swap.warmup else "invalid",
            swap.counted and swap.round in outliers,
        )
        for swap in swaps
        if column in swap.figures
    ]
    counted = [dot.seconds for dot in dots if dot.kind == "counted"]
    return Dots(
        name=name,
        figure=figure,
        dots=tuple(dots),
        estimate=estimate(counted),
        interval=median_interval(counted),
        without=len(swaps) - len(dots),
    )


@dataclass(frozen=True)
class Pictures:
    """One run. Of several strategies, timelines are of stock and of each scenario's fastest."""

    command: str
    timelines: tuple[SwapTimeline, ...]
    dots: tuple[Dots, ...]
    ladders: tuple[LadderDots, ...]
    growth: tuple[Growth, ...]


def pictures_of(
    run: Run, findings: Findings, compared_by: Mapping[str, HeadlineFigure] | None = None
) -> Pictures:
    """The pictures of a run that was analysed.

    Args:
        compared_by: by scenario, the figure that both sides of a comparison have; each its own when None.

    Raises:
        ResultsError: as `analyse`.
    """
    whole = experiment_of(run)
    named, experiment = by_cell(run, whole)
    swaps = swaps_of(named)
    return Pictures(
        command=shlex.join(run.info.command),
        timelines=tuple(
            timeline
            for names in _shown(findings)
            for timeline in _on_one_axis(timeline_of(named, _of(swaps, name)) for name in names)
        ),
        dots=()
        if findings.ladders
        else tuple(
            dots_of(s.name, _of(swaps, s.name), findings.outliers, (compared_by or {}).get(s.name))
            for s in experiment.scenario
        ),
        ladders=tuple(ladder_dots(ladder, swaps, findings.outliers) for ladder in findings.ladders),
        growth=growth_of(swaps, findings.leaks, experiment.leak_tolerance_bytes),
    )


def _of(swaps: Sequence[Swap], scenario: str) -> list[Swap]:
    return [swap for swap in swaps if swap.scenario == scenario]


def _shown(findings: Findings) -> Iterator[list[str]]:
    """Which scenarios' swaps are drawn, in groups that are to be compared: of strategies, stock and the
    fastest."""
    for ladder in findings.ladders:
        names = [rung.strategy for rung in ladder.rungs if rung.total is not None]
        shown = dict.fromkeys([*(name for name in names if name == STOCK), *names[:1]])
        yield [cell_name(ladder.scenario, name) for name in shown]
    if not findings.ladders:
        yield from ([scenario.name] for scenario in findings.scenarios)


def _on_one_axis(found: Iterable[SwapTimeline | None]) -> Iterator[SwapTimeline]:
    timelines = [timeline for timeline in found if timeline is not None]
    longest_s = max((timeline.end_s for timeline in timelines), default=0.0)
    return (replace(timeline, axis_s=longest_s) for timeline in timelines)


# Of a scenario; and of a page: each takes half a kilobyte with its row of the table.
_MOST_DOTS: Final = 250
_DOTS_OF_ALL: Final = 2400
# Runs of ordinary length are drawn whole, however many scenarios they have.
_ORDINARY_SWAPS: Final = 200

_SETTLED_OF_ALL: Final = 2000
_READINGS_OF_ALL: Final = 2000
# Fewer would be no line any more.
_LEAST_POINTS: Final = 40

# Scenario and, in a ladder, strategy.
_Cell = tuple[str, str]


def thinned(sides: Sequence[Pictures]) -> list[Pictures]:
    """The pictures of one page, of one run or of several that are compared.

    Of long series the ends, the least and the greatest of every stretch are kept; of swaps, outliers too, and
    of all sides the same rounds, since they are shown in pairs.
    """
    cells = sum(1 for pictures in sides for _ in _cells(pictures))
    rounds: dict[_Cell, set[int]] = defaultdict(set)
    for pictures in sides:
        for cell, dots, ordinary in _cells(pictures):
            most = min(_MOST_DOTS, max(ordinary, _DOTS_OF_ALL // cells))
            rounds[cell].update(_telling(dots.dots, most))
    return [_thinned(pictures, rounds, len(sides)) for pictures in sides]


def _cells(pictures: Pictures) -> Iterator[tuple[_Cell, Dots, int]]:
    """Each with how many of its swaps an ordinary run has at most."""
    for dots in pictures.dots:
        yield (dots.name, ""), dots, _ORDINARY_SWAPS
    for ladder in pictures.ladders:
        for dots in ladder.strategies:
            yield (ladder.scenario, dots.name), dots, _ORDINARY_SWAPS // len(ladder.strategies)


def _telling(dots: Sequence[Dot], most: int) -> set[int]:
    """The rounds of at most so many swaps, and of half as many outliers."""
    outliers = [dot for dot in dots if dot.outlier]
    points = [
        *thinned_keeping_extremes([(dot.round, dot.seconds) for dot in dots], most),
        *thinned_keeping_extremes([(dot.round, dot.seconds) for dot in outliers], most // 2),
    ]
    return {round(number) for number, _ in points}


def _thinned(pictures: Pictures, rounds: Mapping[_Cell, set[int]], among: int) -> Pictures:
    series = sum(len(timeline.ledgers) for timeline in pictures.timelines)
    readings = max(_LEAST_POINTS, _READINGS_OF_ALL // max(1, among * series))
    settled = max(_LEAST_POINTS, _SETTLED_OF_ALL // max(1, among * len(pictures.growth)))
    return replace(
        pictures,
        timelines=tuple(_timeline(timeline, readings) for timeline in pictures.timelines),
        dots=tuple(_of_rounds(dots, rounds[dots.name, ""]) for dots in pictures.dots),
        ladders=tuple(
            replace(
                ladder,
                strategies=tuple(
                    _of_rounds(dots, rounds[ladder.scenario, dots.name]) for dots in ladder.strategies
                ),
            )
            for ladder in pictures.ladders
        ),
        growth=tuple(_growth(growth, settled) for growth in pictures.growth),
    )


def _of_rounds(dots: Dots, rounds: set[int]) -> Dots:
    kept = tuple(dot for dot in dots.dots if dot.round in rounds)
    return replace(dots, dots=kept, left_out=dots.left_out + len(dots.dots) - len(kept))


def _growth(growth: Growth, most: int) -> Growth:
    points = enumerate(point.growth_bytes for point in growth.points)
    kept = thinned_keeping_extremes([(float(i), grown) for i, grown in points], most)
    left_out = growth.left_out + len(growth.points) - len(kept)
    return replace(growth, points=tuple(growth.points[round(i)] for i, _ in kept), left_out=left_out)


def _timeline(timeline: SwapTimeline, most: int) -> SwapTimeline:
    ledgers = (
        replace(series, points=thinned_keeping_extremes(series.points, most)) for series in timeline.ledgers
    )
    return replace(timeline, ledgers=tuple(ledgers))

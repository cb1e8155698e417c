"""What charts of a run are drawn from, beside its findings; of long runs, few enough points."""

import math
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median_low
from typing import Final, Literal

from swapbench.base.phases import ALL_LEDGERS, FIRST_TOKEN, PHASES, HeadlineFigure
from swapbench.findings.findings import Findings
from swapbench.findings.memory import Growth, growth_of
from swapbench.findings.runs import by_cell, cell_name
from swapbench.findings.stability import Outlier
from swapbench.findings.strategies import STOCK, Ladder
from swapbench.findings.swaps import Swap, headline_figure, rank_of_all, samples_of, swaps_of
from swapbench.stats.estimate import Estimate, Interval, estimate, median_interval
from swapbench.store import Run, experiment_of
from swapbench.store.tables import Row, number

# More points than a picture has columns only make it heavier.
_MOST_POINTS: Final = 600

# What is shown before the request and after the end, as a share of the swap.
_LEAD: Final = 0.08
_TAIL: Final = 0.15

Point = tuple[float, float]


@dataclass(frozen=True)
class Stretch:
    """A phase, a span of one (its name in `span`), or the first token; seconds since the swap request."""

    phase: str
    span: str
    start_s: float
    seconds: float

    @property
    def end_s(self) -> float:
        """When it was over."""
        return self.start_s + self.seconds


@dataclass(frozen=True)
class LedgerSeries:
    """One ledger around one swap: (seconds since the request, bytes), in order of time."""

    ledger: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class SwapTimeline:
    """The swap of a scenario whose headline is nearest the median of `n`.

    `end_s` is the first token's end, or the last phase's where there is none; `axis_s` that of the longest of
    those that it is compared with. Where starts were not recorded (`end_to_end`), each phase begins where the
    one before it ended.
    """

    scenario: str
    from_model: str
    to_model: str
    round: int
    n: int
    total_s: float
    end_s: float
    axis_s: float
    end_to_end: bool
    stretches: tuple[Stretch, ...]
    ledgers: tuple[LedgerSeries, ...]

    @property
    def phases(self) -> tuple[Stretch, ...]:
        """Without the spans."""
        return tuple(stretch for stretch in self.stretches if not stretch.span)


def timeline_of(run: Run, swaps: Sequence[Swap]) -> SwapTimeline | None:
    """The timeline of a scenario's most ordinary swap; None where none is counted, or none has phases.

    Args:
        run: with the scenarios named as in `swaps`.
        swaps: of one scenario.
    """
    counted = [swap for swap in swaps if swap.counted]
    swap = nearest_median(counted)
    if swap is None or swap.total_s is None:
        return None
    its = [row for row in run.phases if row["round"] == swap.round and row["scenario"] == swap.scenario]
    rank = rank_of_all(its)
    rows = [row for row in its if number(row["rank"]) == rank]
    stretches, end_to_end = _stretches(rows)
    if not stretches:
        return None
    end_s = max([swap.total_s, *(stretch.end_s for stretch in stretches)])
    return SwapTimeline(
        scenario=swap.scenario,
        from_model=swap.from_model,
        to_model=swap.to_model,
        round=swap.round,
        n=len(counted),
        total_s=swap.total_s,
        end_s=end_s,
        axis_s=end_s,
        end_to_end=end_to_end,
        stretches=stretches,
        ledgers=() if end_to_end else tuple(_ledgers(run, rows, swap, end_s)),
    )


def nearest_median(counted: Sequence[Swap]) -> Swap | None:
    """The swap whose headline is the median; of an even number the faster of the two beside it."""
    figure = f"{headline_figure(counted)}_s"
    having = [swap for swap in counted if figure in swap.figures]
    if not having:
        return None
    middle = median_low(swap.figures[figure] for swap in having)
    return next(swap for swap in having if swap.figures[figure] == middle)


def _stretches(rows: Sequence[Row]) -> tuple[tuple[Stretch, ...], bool]:
    """Phases in their order, each followed by its spans; and whether they had to be laid end to end.

    One that was entered several times is several stretches.
    """
    found = [row for row in rows if math.isfinite(row["seconds"])]
    order = [*map(str, PHASES), FIRST_TOKEN]
    phases = [row for name in order for row in found if row["phase"] == name and not row["span"]]
    end_to_end = any(not math.isfinite(row["start_s"]) for row in phases)
    starts = [float(row["start_s"]) for row in phases]
    if end_to_end:
        starts = list(accumulate((float(row["seconds"]) for row in phases[:-1]), initial=0.0))
    stretches: list[Stretch] = []
    for name in order:
        its = [(row, s) for row, s in zip(phases, starts, strict=True) if row["phase"] == name]
        stretches += [Stretch(name, "", s, float(row["seconds"])) for row, s in its]
        if not end_to_end:
            stretches += _spans(found, name)
    return tuple(stretches), end_to_end


def _spans(rows: Sequence[Row], phase: str) -> list[Stretch]:
    """A phase's spans by their start; spans within spans (evict/write/agent) left out."""
    spans = [
        Stretch(phase, row["span"], float(row["start_s"]), float(row["seconds"]))
        for row in rows
        if row["phase"] == phase and row["span"] and "/" not in row["span"] and math.isfinite(row["start_s"])
    ]
    return sorted(spans, key=lambda stretch: (stretch.start_s, -stretch.seconds))


def _ledgers(run: Run, rows: Sequence[Row], swap: Swap, end_s: float) -> Iterator[LedgerSeries]:
    """Readings around every phase and span, and the samples between them."""
    samples = _samples(run, swap, end_s)
    for ledger in ALL_LEDGERS:
        points = [(row["start_s"], row[f"{ledger}_before_bytes"]) for row in rows]
        points += [(row["start_s"] + row["seconds"], row[f"{ledger}_after_bytes"]) for row in rows]
        points += [(t_s, row[f"{ledger}_bytes"]) for t_s, row in samples]
        known = sorted((t, value) for t, value in points if math.isfinite(t) and math.isfinite(value))
        if len(known) > 1:
            yield LedgerSeries(ledger, thinned_keeping_extremes(known, _MOST_POINTS))


def _samples(run: Run, swap: Swap, end_s: float) -> list[tuple[float, Row]]:
    start_s = swap.figures.get("start_s")
    if start_s is None:
        return []
    first_s, last_s = start_s - _LEAD * end_s, start_s + (1 + _TAIL) * end_s
    return [
        (row["t_s"] - start_s, row)
        for row in samples_of(run)
        if (row["round"], row["scenario"]) == (swap.round, swap.scenario) and first_s <= row["t_s"] <= last_s
    ]


def thinned_keeping_extremes(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """At most `most` of the points, in their order: ends, and the least and greatest of each stretch.

    No peak is lost, however brief: that is what even thinning would do.
    """
    if len(points) <= most:
        return tuple(points)
    inner = points[1:-1]
    stretches = max(1, (most - 2) // 2)
    kept: list[Point] = [points[0]]
    for i in range(stretches):
        part = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        if part:
            ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
            kept.extend(sorted(ends))
    return (*kept, points[-1])


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

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
from swapbench.findings import Findings
from swapbench.findings.anomalies import Outlier
from swapbench.findings.memory import Growth, growth_of
from swapbench.findings.runs import by_cell, cell_name
from swapbench.findings.strategies import STOCK
from swapbench.findings.swaps import Swap, headline_figure, rank_of_all, samples_of, swaps_of
from swapbench.stats.estimate import Estimate, Interval, estimate, median_interval
from swapbench.store import Run, experiment_of
from swapbench.store.tables import Row, number

# More points than a picture has columns only make it heavier.
_MOST_POINTS: Final = 600

# What is shown before the request and after the end, as a share of the swap.
_LEAD: Final = 0.08
_TAIL: Final = 0.15

_ORDER: Final = (*map(str, PHASES), FIRST_TOKEN)

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
    """The swap of a scenario whose headline is nearest the median of `n`. `end_s` is the first token's end,
    or the last phase's where there is none; `axis_s` that of the longest of those that it is compared with.
    Where starts were not recorded (`end_to_end`), each phase begins where the one before it ended."""

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
    `swaps` are of one scenario, which `run` names as they do."""
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
    middle = median_low(swap.figures[figure] for swap in having) if having else None
    return next((swap for swap in having if swap.figures[figure] == middle), None)


def _stretches(rows: Iterable[Row]) -> tuple[tuple[Stretch, ...], bool]:
    """Phases in their order, each followed by its spans, without spans within spans (evict/write/agent); and
    whether they had to be laid end to end. What was entered several times is several stretches."""
    found = sorted(
        (row for row in rows if math.isfinite(row["seconds"]) and row["phase"] in _ORDER),
        key=lambda row: _ORDER.index(row["phase"]),
    )
    phases = [row for row in found if not row["span"]]
    if any(not math.isfinite(row["start_s"]) for row in phases):
        starts = accumulate((float(row["seconds"]) for row in phases[:-1]), initial=0.0)
        laid = zip(phases, starts, strict=True)
        return tuple(Stretch(row["phase"], "", start, float(row["seconds"])) for row, start in laid), True
    stretches = [
        Stretch(row["phase"], row["span"], float(row["start_s"]), float(row["seconds"]))
        for row in found
        if "/" not in row["span"] and math.isfinite(row["start_s"])
    ]

    def place(one: Stretch) -> tuple[float, ...]:
        return (_ORDER.index(one.phase), *((1, one.start_s, -one.seconds) if one.span else (0, 0, 0)))

    return tuple(sorted(stretches, key=place)), False


def _ledgers(run: Run, rows: Sequence[Row], swap: Swap, end_s: float) -> Iterator[LedgerSeries]:
    """Readings around every phase and span, and the samples between them."""
    start_s = swap.figures.get("start_s", math.nan)
    samples = [
        (row["t_s"] - start_s, row)
        for row in samples_of(run)
        if (row["round"], row["scenario"]) == (swap.round, swap.scenario)
        and start_s - _LEAD * end_s <= row["t_s"] <= start_s + (1 + _TAIL) * end_s
    ]
    for ledger in ALL_LEDGERS:
        points = [(row["start_s"], row[f"{ledger}_before_bytes"]) for row in rows]
        points += [(row["start_s"] + row["seconds"], row[f"{ledger}_after_bytes"]) for row in rows]
        points += [(t_s, row[f"{ledger}_bytes"]) for t_s, row in samples]
        known = sorted((t, value) for t, value in points if math.isfinite(t) and math.isfinite(value))
        if len(known) > 1:
            yield LedgerSeries(ledger, thinned_keeping_extremes(known, _MOST_POINTS))


def thinned_keeping_extremes(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """At most `most` of the points, in their order: ends, and the least and greatest of each stretch. No peak
    is lost, however brief: that is what even thinning would do."""
    if len(points) <= most:
        return tuple(points)
    inner = points[1:-1]
    stretches = max(1, (most - 2) // 2)
    kept: list[Point] = [points[0]]
    for i in range(stretches):
        part = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        if part:
            kept.extend(sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}))
    return (*kept, points[-1])


@dataclass(frozen=True)
class Dot:
    """One swap."""

    round: int
    seconds: float
    kind: Literal["counted", "warm-up", "invalid"]
    outlier: bool


@dataclass(frozen=True)
class Dots:
    """The swaps of one scenario, or of one strategy in it. `without` have no such figure: they failed.
    `left_out` have one and no dot, for there are too many."""

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
    figure = figure or headline_figure([swap for swap in swaps if swap.counted])
    far = {(outlier.scenario, outlier.round) for outlier in outliers}
    dots = [
        Dot(
            swap.round,
            swap.figures[f"{figure}_s"],
            "counted" if swap.counted else "warm-up" if swap.warmup else "invalid",
            swap.counted and (swap.scenario, swap.round) in far,
        )
        for swap in swaps
        if f"{figure}_s" in swap.figures
    ]
    counted = [dot.seconds for dot in dots if dot.kind == "counted"]
    without = len(swaps) - len(dots)
    return Dots(name, figure, tuple(dots), estimate(counted), median_interval(counted), without)


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
    """The pictures of a run that was analysed; `compared_by` has the figure that both sides of a comparison
    have, by scenario.

    Raises:
        ResultsError: as `analyse`.
    """
    named, experiment = by_cell(run, experiment_of(run))
    swaps = swaps_of(named)
    of = {s.name: [swap for swap in swaps if swap.scenario == s.name] for s in experiment.scenario}
    timelines, ladders = [], []
    for ladder in findings.ladders:
        strategies = {rung.strategy: of[cell_name(ladder.scenario, rung.strategy)] for rung in ladder.rungs}
        dots = (dots_of(name, its, findings.outliers, "total") for name, its in strategies.items())
        ladders.append(LadderDots(ladder.scenario, tuple(dots)))
        measured = [rung.strategy for rung in ladder.rungs if rung.total is not None]
        shown = dict.fromkeys([*(name for name in measured if name == STOCK), *measured[:1]])
        drawn = [line for name in shown if (line := timeline_of(named, strategies[name])) is not None]
        longest_s = max((timeline.end_s for timeline in drawn), default=0.0)
        timelines += [replace(timeline, axis_s=longest_s) for timeline in drawn]
    alone = {} if ladders else of
    timelines += [line for its in alone.values() if (line := timeline_of(named, its)) is not None]
    figures = compared_by or {}
    return Pictures(
        command=shlex.join(run.info.command),
        timelines=tuple(timelines),
        dots=tuple(dots_of(name, its, findings.outliers, figures.get(name)) for name, its in alone.items()),
        ladders=tuple(ladders),
        growth=growth_of(swaps, findings.leaks, experiment.leak_tolerance_bytes),
    )


# Of a scenario; and of a page: each takes half a kilobyte with its row of the table.
_MOST_DOTS: Final = 250
_DOTS_OF_ALL: Final = 2400
# Runs of ordinary length are drawn whole, however many scenarios they have.
_ORDINARY_SWAPS: Final = 200

_SETTLED_OF_ALL: Final = 2000
_READINGS_OF_ALL: Final = 2000
# Fewer would be no line any more.
_LEAST_POINTS: Final = 40


def thinned(sides: Sequence[Pictures]) -> list[Pictures]:
    """The pictures of one page, of one run or of several that are compared. Of long series the ends, the
    least and the greatest of every stretch are kept; of swaps, outliers too, and of all sides the same
    rounds, since they are shown in pairs."""
    # Each with how many of its swaps an ordinary run has at most.
    cells = [(("", dots.name), dots, _ORDINARY_SWAPS) for side in sides for dots in side.dots]
    cells += [
        ((ladder.scenario, dots.name), dots, _ORDINARY_SWAPS // len(ladder.strategies))
        for side in sides
        for ladder in side.ladders
        for dots in ladder.strategies
    ]
    rounds: dict[tuple[str, str], set[int]] = defaultdict(set)
    for cell, dots, ordinary in cells:
        most = min(_MOST_DOTS, max(ordinary, _DOTS_OF_ALL // len(cells)))
        for shown, limit in ((dots.dots, most), ([dot for dot in dots.dots if dot.outlier], most // 2)):
            points = thinned_keeping_extremes([(dot.round, dot.seconds) for dot in shown], limit)
            rounds[cell].update(round(number) for number, _ in points)

    def few(scenario: str, several: Iterable[Dots]) -> tuple[Dots, ...]:
        return tuple(_of_rounds(dots, rounds[scenario, dots.name]) for dots in several)

    return [
        replace(
            side,
            timelines=_few_readings(side.timelines, len(sides)),
            dots=few("", side.dots),
            ladders=tuple(replace(one, strategies=few(one.scenario, one.strategies)) for one in side.ladders),
            growth=_few_settled(side.growth, len(sides)),
        )
        for side in sides
    ]


def _of_rounds(dots: Dots, rounds: set[int]) -> Dots:
    kept = tuple(dot for dot in dots.dots if dot.round in rounds)
    return replace(dots, dots=kept, left_out=dots.left_out + len(dots.dots) - len(kept))


def _few_readings(timelines: Sequence[SwapTimeline], sides: int) -> tuple[SwapTimeline, ...]:
    series = sum(len(timeline.ledgers) for timeline in timelines)
    most = max(_LEAST_POINTS, _READINGS_OF_ALL // max(1, sides * series))

    def few(ledgers: Iterable[LedgerSeries]) -> tuple[LedgerSeries, ...]:
        return tuple(replace(one, points=thinned_keeping_extremes(one.points, most)) for one in ledgers)

    return tuple(replace(timeline, ledgers=few(timeline.ledgers)) for timeline in timelines)


def _few_settled(growths: Sequence[Growth], sides: int) -> tuple[Growth, ...]:
    most = max(_LEAST_POINTS, _SETTLED_OF_ALL // max(1, sides * len(growths)))
    few = []
    for growth in growths:
        points = [(float(i), point.growth_bytes) for i, point in enumerate(growth.points)]
        kept = tuple(growth.points[round(i)] for i, _ in thinned_keeping_extremes(points, most))
        left_out = growth.left_out + len(points) - len(kept)
        few.append(replace(growth, points=kept, left_out=left_out))
    return tuple(few)

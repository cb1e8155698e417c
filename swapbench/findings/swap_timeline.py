"""One swap on its clock: phases, spans and the ledgers between them, as a picture shows it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median_low
from typing import Final

from swapbench.base.phases import ALL_LEDGERS, FIRST_TOKEN, PHASES
from swapbench.findings.swaps import Swap, headline_figure, rows_of_all, samples_of
from swapbench.store import Run
from swapbench.store.tables import Row

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
    rows = rows_of_all(its)
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

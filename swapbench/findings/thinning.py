"""Pictures of long runs with so many points that a page stays light, and nothing lost that stands out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from swapbench.findings.dots import Dot, Dots
from swapbench.findings.growth import Growth
from swapbench.findings.pictures import Pictures
from swapbench.findings.swap_timeline import SwapTimeline, thinned_keeping_extremes

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

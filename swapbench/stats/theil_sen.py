"""The Theil-Sen slope of several series together, with Sen's interval."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

# Pairs grow with the square of the points; evenly thinned, this many tell as much as all.
_MOST_POINTS: Final = 600

_Z_95: Final = 1.959963984540054

Series = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Slope:
    """A Theil-Sen slope and its distribution-free 95 % interval; unbounded where too few pairs allow none."""

    point: float
    low: float
    high: float
    points: int
    pairs: int


def thinned(values: Sequence[float]) -> list[float]:
    """All of them, or so many evenly spaced ones that their pairs stay few enough to be formed."""
    last = len(values) - 1
    if last < _MOST_POINTS:
        return [float(value) for value in values]
    return [float(values[i * last // (_MOST_POINTS - 1)]) for i in range(_MOST_POINTS)]


def theil_sen(series: Iterable[Series]) -> Slope | None:
    """The median slope over all pairs of points of one series, and Sen's interval around it.

    Pairs are formed within a series only; Kendall's variance (with its correction for ties) adds up over
    series, as in the seasonal Kendall test. None where no series has two points.
    """
    slopes: list[float] = []
    variance = untied = 0.0
    points = 0
    for xs, ys in series:
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            slopes += [(y - ys[j]) / (x - xs[j]) for j in range(i)]
        untied += _rank_term(len(ys)) / 18
        variance += _kendall_variance(ys)
        points += len(ys)
    ordered = sorted(slopes)
    pairs = len(ordered)
    if pairs == 0:
        return None
    lower, upper = _sen_bounds(pairs, variance)
    if _sen_bounds(pairs, untied)[0] < 0:
        # Ties narrow the interval; they must not conjure one up from two equal readings.
        lower, upper = -1, pairs
    return Slope(
        point=float(median(ordered)),
        low=float(ordered[lower]) if lower >= 0 else -math.inf,
        high=float(ordered[upper]) if upper < pairs else math.inf,
        points=points,
        pairs=pairs,
    )


def _sen_bounds(pairs: int, variance: float) -> tuple[int, int]:
    """Which of the ordered slopes bound the interval; outside 0..pairs-1 where none does."""
    reach = _Z_95 * math.sqrt(variance)
    return round((pairs - reach) / 2) - 1, round((pairs + reach) / 2)


def _kendall_variance(ys: Sequence[float]) -> float:
    """The variance of Kendall's S for readings in a row, less what tied ones take from it."""
    return (_rank_term(len(ys)) - sum(map(_rank_term, Counter(ys).values()))) / 18


def _rank_term(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)

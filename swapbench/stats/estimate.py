"""What stands behind every figure that is shown: medians, slopes, their spread, and what they rest on."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

# Below this, a spread is the least and the greatest value: quantiles of so few values are made up.
FEW: Final = 30

_CONFIDENCE: Final = 0.95
Z_95: Final = 1.959963984540054

# Pairs grow with the square of the points; evenly thinned, this many tell as much as all.
_MOST_POINTS: Final = 600
# So many are faster with numpy, its import included.
_MANY_PAIRS: Final = 50_000

Series = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Estimate:
    """A median with its spread: min and max below 30 values, the quartiles from there on."""

    point: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Interval:
    """Where the median of swaps like these lies, with the confidence that the interval really has."""

    low: float
    high: float
    confidence: float
    n: int


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """The estimate of the values that were recorded; None where none was."""
    ordered = _recorded(values)
    if not ordered:
        return None

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        before, after = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
        return before + (after - before) * (place - int(place))

    low, high = (0.0, 1.0) if len(ordered) < FEW else (0.25, 0.75)
    return Estimate(quantile(0.5), quantile(low), quantile(high), len(ordered))


def median_interval(values: Iterable[float | None]) -> Interval | None:
    """The interval of the median by order statistics, at 95 % confidence or more; None below 6 values. It
    holds for independent values of any distribution; equal ones only make it more confident than it says."""
    ordered = _recorded(values)
    n = len(ordered)
    inside = None
    # The median lies outside when no more than `cut` of n fair coins fall on one side: counted in whole
    # numbers, since for a thousand coins both the count and its chance are beyond a float.
    ways = outside = 1
    for cut in range(n // 2):
        confidence = 1 - 2 * outside / 2**n
        if confidence < _CONFIDENCE:
            break
        inside = Interval(ordered[cut], ordered[-1 - cut], confidence, n)
        ways = ways * (n - cut) // (cut + 1)
        outside += ways
    return inside


def _recorded(values: Iterable[float | None]) -> list[float]:
    return sorted(value for value in values if value is not None and math.isfinite(value))


def supported_reliability(successes: int, n: int) -> float:
    """The share of swaps that `successes` of `n` show to succeed, at 95 % confidence (Clopper-Pearson). 10 of
    10 show 74 %: with a true share below that, ten in a row would come less than once in twenty."""
    if successes == 0:
        return 0.0
    # Through logarithms: terms can be huge.
    ways = {
        k: math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(successes, n + 1)
    }
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        terms = (math.exp(way + k * math.log(p) + (n - k) * math.log1p(-p)) for k, way in ways.items())
        low, high = (p, high) if math.fsum(terms) < 1 - _CONFIDENCE else (low, p)
    return low


def times_as_fast(of: Mapping[int, float], than: Mapping[int, float]) -> Estimate | None:
    """The median over rounds of `than` / `of`, seconds by round; only rounds that have both. The spread is
    the 95 % interval of the median by order statistics from 6 rounds on, and the least and the greatest ratio
    below."""
    ratios = [than[number] / seconds for number, seconds in of.items() if number in than and seconds > 0]
    if not ratios:
        return None
    inside = median_interval(ratios)
    low, high = (inside.low, inside.high) if inside else (min(ratios), max(ratios))
    return Estimate(median(ratios), low, high, len(ratios))


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


def theil_sen(series: Sequence[Series]) -> Slope | None:
    """The median slope over all pairs of points of one series, and Sen's interval around it. Pairs are formed
    within a series only; Kendall's variance (with its correction for ties) adds up over series, as in the
    seasonal Kendall test. None where no series has two points."""
    slopes = _ordered_slopes(series)
    pairs = len(slopes)
    if pairs == 0:
        return None
    untied = sum(_rank_term(len(ys)) / 18 for _, ys in series)
    variance = sum(
        (_rank_term(len(ys)) - sum(map(_rank_term, Counter(ys).values()))) / 18 for _, ys in series
    )
    reach = Z_95 * math.sqrt(variance)
    lower, upper = round((pairs - reach) / 2) - 1, round((pairs + reach) / 2)
    if round((pairs - Z_95 * math.sqrt(untied)) / 2) < 1:
        # Ties narrow the interval; they must not conjure one up from two equal readings.
        lower, upper = -1, pairs
    return Slope(
        point=(slopes[(pairs - 1) // 2] + slopes[pairs // 2]) / 2,
        low=slopes[lower] if lower >= 0 else -math.inf,
        high=slopes[upper] if upper < pairs else math.inf,
        points=sum(len(ys) for _, ys in series),
        pairs=pairs,
    )


def _ordered_slopes(series: Sequence[Series]) -> list[float]:
    if sum(len(ys) ** 2 for _, ys in series) < 2 * _MANY_PAIRS:
        points = [list(zip(*one, strict=True)) for one in series]
        return sorted(
            (y - before_y) / (x - before_x)
            for one in points
            for i, (x, y) in enumerate(one)
            for before_x, before_y in one[:i]
        )
    import numpy as np

    slopes = []
    for xs, ys in series:
        first, second = np.triu_indices(len(xs), 1)
        x, y = np.asarray(xs), np.asarray(ys)
        slopes.append((y[second] - y[first]) / (x[second] - x[first]))
    ordered: list[float] = np.sort(np.concatenate(slopes)).tolist()
    return ordered


def _rank_term(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)

"""What stands behind every figure that is shown: a median, its spread, and how many swaps it rests on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

# Below this, a spread is the least and the greatest value: quantiles of so few values are made up.
FEW: Final = 30

_CONFIDENCE: Final = 0.95


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
    ordered = sorted(_recorded(values))
    n = len(ordered)
    if n == 0:
        return None
    low, high = (0.0, 1.0) if n < FEW else (0.25, 0.75)
    return Estimate(_quantile(ordered, 0.5), _quantile(ordered, low), _quantile(ordered, high), n)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two values beside it, in proportion."""
    place = share * (len(ordered) - 1)
    before = ordered[int(place)]
    after = ordered[min(int(place) + 1, len(ordered) - 1)]
    return before + (after - before) * (place - int(place))


def median_interval(values: Iterable[float | None]) -> Interval | None:
    """The interval of the median by order statistics, at 95 % confidence or more; None below 6 values.

    It holds for values of any distribution, as long as they are independent of each other. Equal values only
    make it more confident than it says.
    """
    ordered = sorted(_recorded(values))
    n = len(ordered)
    inside = _innermost(n)
    if inside is None:
        return None
    cut, confidence = inside
    return Interval(ordered[cut], ordered[-1 - cut], confidence, n)


def _innermost(n: int) -> tuple[int, float] | None:
    """How many of n sorted values can be left out at each end, and the confidence that then remains.

    The median lies outside when no more than `cut` of n fair coins fall on one side: counted in whole
    numbers, since for a thousand coins both the count and its chance are beyond a float.
    """
    inside = None
    ways = outside = 1
    for cut in range(n // 2):
        confidence = 1 - 2 * outside / 2**n
        if confidence < _CONFIDENCE:
            break
        inside = cut, confidence
        ways = ways * (n - cut) // (cut + 1)
        outside += ways
    return inside


def _recorded(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def supported_reliability(successes: int, n: int) -> float:
    """The share of swaps that `successes` of `n` show to succeed, at 95 % confidence (Clopper-Pearson).

    10 of 10 show 74 %: with a true share below that, ten in a row would come less than once in twenty.
    """
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_least(successes, n, middle) < 1 - _CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def _at_least(k: int, n: int, p: float) -> float:
    """The chance of `k` or more successes in `n` trials, through logarithms, as terms can be huge."""
    return math.fsum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(i + 1)
            - math.lgamma(n - i + 1)
            + i * math.log(p)
            + (n - i) * math.log1p(-p)
        )
        for i in range(k, n + 1)
    )


def times_as_fast(of: Mapping[int, float], than: Mapping[int, float]) -> Estimate | None:
    """The median over rounds of `than` / `of`, seconds by round; only rounds that have both.

    The spread is the 95 % interval of the median by order statistics from 6 rounds on, and the least and the
    greatest ratio below.
    """
    ratios = [than[number] / seconds for number, seconds in of.items() if number in than and seconds > 0]
    if not ratios:
        return None
    inside = median_interval(ratios)
    low, high = (inside.low, inside.high) if inside else (min(ratios), max(ratios))
    return Estimate(median(ratios), low, high, len(ratios))


def largest(values: Sequence[float | None]) -> float | None:
    """The greatest of what was recorded."""
    return max((value for value in values if value is not None), default=None)

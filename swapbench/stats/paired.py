"""How many times as fast: ratios within rounds, since only what ran side by side can be compared."""

from collections.abc import Mapping, Sequence
from statistics import median

from swapbench.stats.estimate import Estimate, median_interval


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

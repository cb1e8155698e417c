"""How many times as fast: ratios within rounds, since only what ran side by side can be compared."""

from collections.abc import Mapping, Sequence
from math import comb
from statistics import median

from swapbench.analysis.estimate import Estimate

_CONFIDENCE = 0.95


def times_as_fast(of: Mapping[int, float], than: Mapping[int, float]) -> Estimate | None:
    """The median over rounds of `than` / `of`, seconds by round; only rounds that have both.

    The spread is the 95 % interval of the median by order statistics from 6 rounds on, and the least and the
    greatest ratio below.
    """
    ratios = sorted(
        than[number] / seconds for number, seconds in of.items() if number in than and seconds > 0
    )
    if not ratios:
        return None
    cut = _cut(len(ratios))
    return Estimate(median(ratios), ratios[cut], ratios[-1 - cut], len(ratios))


def _cut(n: int) -> int:
    """How many of n sorted values may be left out at each end of a 95 % interval of the median."""
    cut, outside = 0, 2 * 0.5**n
    while outside + 2 * comb(n, cut + 1) * 0.5**n <= 1 - _CONFIDENCE:
        cut += 1
        outside += 2 * comb(n, cut) * 0.5**n
    return cut


def largest(values: Sequence[float | None]) -> float | None:
    """The greatest of what was recorded."""
    return max((value for value in values if value is not None), default=None)

"""A figure over time in one line of text."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"

# Noise must not look like a mountain range: the whole height is at least this share of the figure.
_LEAST_RANGE: Final = 0.2


def sparkline(values: Sequence[float], width: int) -> str:
    """One bar for each value; where there is no room for all, for the median of neighbours."""
    bars = _thinned(values, width)
    low, high = min(bars), max(bars)
    lacking = max(0.0, _LEAST_RANGE * (low + high) / 2 - (high - low))
    low, high = low - lacking / 2, high + lacking / 2
    if high <= low:
        return _BARS[0] * len(bars)
    steps = (int((value - low) / (high - low) * len(_BARS)) for value in bars)
    return "".join(_BARS[min(step, len(_BARS) - 1)] for step in steps)


def _thinned(values: Sequence[float], width: int) -> list[float]:
    n = len(values)
    if n <= width:
        return list(values)
    bounds = [i * n // width for i in range(width + 1)]
    return [median(values[a:b]) for a, b in pairwise(bounds)]

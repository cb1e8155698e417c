"""Texts that may be of any length and hold anything; a figure over time in one line of text."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

# ESC and all its kin but tab and line feed; rich itself takes only a few of them out.
_CONTROL: Final = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")})
_BARS: Final = "▁▂▃▄▅▆▇█"

# Noise must not look like a mountain range: the whole height is at least this share of the figure.
_LEAST_RANGE: Final = 0.2


def plain(text: str) -> str:
    """The text without the characters that a terminal would obey."""
    return text.translate(_CONTROL)


def short(text: str, most: int) -> str:
    """At most so many characters of a text that may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shortened(name: str, most: int) -> str:
    """At most so many characters of a name, left out in the middle: names differ at their ends."""
    if len(name) <= most:
        return name
    kept = max(0, most - 1)
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"[: max(0, most)]


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


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

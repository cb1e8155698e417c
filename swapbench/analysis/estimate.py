"""What stands behind every figure that is shown: a median, its spread, and how many swaps it rests on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

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


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """The estimate of the values that were recorded; None where none was."""
    recorded = np.array([v for v in values if v is not None and math.isfinite(v)], dtype=float)
    n = len(recorded)
    if n == 0:
        return None
    spread = (0.0, 1.0) if n < FEW else (0.25, 0.75)
    low, point, high = np.quantile(recorded, [spread[0], 0.5, spread[1]])
    return Estimate(float(point), float(low), float(high), n)


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

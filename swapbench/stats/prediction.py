"""Where the next run's figure falls if nothing has changed, by a history of runs: a prediction interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Final

# Of fewer runs nobody knows how much one differs from the next.
FEWEST_RUNS: Final = 10

_STEPS: Final = 200

# What four of five runs lie above.
_Z_80: Final = 0.8416


@dataclass(frozen=True)
class Prediction:
    """The history's centre (geometric mean), and the interval that one more run falls into.

    Each bound is one-sided, 95 %. `p` is the chance of a run as slow or slower, were it slower than the past
    by no more than the margin. `detectable` is the least change, as a share, that four of
    five such runs would show.
    """

    centre: float
    low: float
    high: float
    p: float
    detectable: float
    runs: int


def predict(history: Sequence[float], value: float, margin: float) -> Prediction | None:
    """Judge `value` by a history of the same figure; None of fewer than ten runs.

    Runs are taken to be independent and log-normal. Days are not: a machine can be another on a day that the
    history has none like, and then this raises a false alarm.
    """
    if len(history) < FEWEST_RUNS:
        return None
    logs = [math.log(entry) for entry in history]
    n, centre = len(logs), fmean(logs)
    error = stdev(logs) * math.sqrt(1 + 1 / n)
    reach = student_quantile(0.95, n - 1) * error
    excess = math.log(value) - centre - math.log1p(margin)
    return Prediction(
        centre=math.exp(centre),
        low=math.exp(centre - reach),
        high=math.exp(centre + reach),
        p=_beyond(excess, error, n - 1),
        detectable=(1 + margin) * math.exp(reach + _Z_80 * error) - 1,
        runs=n,
    )


def _beyond(excess: float, error: float, freedom: int) -> float:
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return student_tail(excess / error, freedom)


def student_tail(t: float, freedom: int) -> float:
    """The chance of `t` or more by Student's distribution: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine2 = math.cos(angle) ** 2
    term = 1.0 if freedom % 2 == 0 else math.cos(angle)
    series = 0.0 if freedom == 1 else term
    for k in range(1 + freedom % 2, freedom - 2, 2):
        term *= cosine2 * k / (k + 1)
        series += term
    within = math.sin(angle) * series
    if freedom % 2:
        within = 2 / math.pi * (angle + within)
    return (1 - within) / 2


@lru_cache(maxsize=64)
def student_quantile(share: float, freedom: int) -> float:
    """The value that a share of Student's distribution lies below, for shares above one half."""
    low, high = 0.0, 1e6
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if 1 - student_tail(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return low

"""A figure over many runs: whether, when and by how much it changed, and where the next run's falls.

What changed is information, never a verdict. Levels are told apart by ranks, so one run that took ten times
as long counts as one run above, no more. The statistic is the greatest standardised rank sum (Mann and
Whitney) over all places to cut, in intervals of all lengths and places (seeded binary segmentation: Kovács,
Bühlmann, Li and Munk 2023). Under a steady level it depends on the number of runs alone: its critical values
are a table.

Fewer than 1 % of steady series of independent runs show a change, whatever their distribution. Runs that
take after their neighbours alarm more often: 40 runs with a correlation of 0.2 from one to the next in 2 %
of series, 0.3 in 6 %, 0.5 in 20 %, 0.7 in 50 %. A slow drift looks like a staircase.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from swapbench.stats.estimate import Z_95, Estimate, theil_sen, thinned

# A level is at least this many runs.
LEAST_RUNS: Final = 5

# Of fewer runs nobody knows how much one differs from the next.
FEWEST_RUNS: Final = 10

# By the number of runs, what the statistic passes in 1 % of steady series (20,000 shuffles of the shortest,
# 1,000 of the longest).
_RUNS: Final = (10, 12, 15, 20, 30, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_CRITICAL: Final = (2.45, 2.69, 2.82, 3.07, 3.27, 3.54, 3.86, 4.09, 4.35, 4.51, 4.66, 4.94, 5.00)

# Clocks tell nanoseconds; a phase that took less still has a logarithm.
_LEAST_S: Final = 1e-9

_MAD_TO_SIGMA: Final = 1.4826
# What four of five runs lie above.
_Z_80: Final = 0.8416

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """A change of level, from run number `at` on. `ratio` is new over old, with its 95 % interval. The ratio
    is the Hodges-Lehmann estimate between the level before and the level after. Its interval takes the place
    as given, though it was found in the same runs."""

    at: int
    ratio: Estimate


@dataclass(frozen=True)
class Trend:
    """How a figure went over runs. `levels` are their medians, in seconds, from one change to the next.
    `spread` is how far runs lie from their level, as a share of it (scaled median deviation); `drift` is the
    slope within levels as a share per 100 runs (Theil-Sen, 95 % interval), None below `LEAST_RUNS`."""

    levels: tuple[float, ...]
    changes: tuple[ChangePoint, ...]
    spread: float
    drift: Estimate | None


class _Cut(NamedTuple):
    score: float
    start: int
    end: int
    at: int


def trend_of(seconds: Sequence[float]) -> Trend:
    """The levels of a figure, oldest run first, of at least one run; below ten no change can be found."""
    logs = np.log(np.maximum(np.asarray(seconds, dtype=float), _LEAST_S))
    places = change_points(seconds)
    parts = np.split(logs, places)
    rests = np.concatenate([np.abs(part - np.median(part)) for part in parts])
    changes = zip(places, parts[:-1], parts[1:], strict=True)
    return Trend(
        levels=tuple(float(np.exp(np.median(part))) for part in parts),
        changes=tuple(ChangePoint(at, ratio_between(before, after)) for at, before, after in changes),
        spread=float(np.expm1(_MAD_TO_SIGMA * np.median(rests))),
        drift=_drift([part.tolist() for part in parts if len(part) >= LEAST_RUNS]),
    )


def change_points(values: Sequence[float]) -> list[int]:
    """The numbers of the runs from which on the level is another one, ascending."""
    n = len(values)
    if n < 2 * LEAST_RUNS:
        return []
    ranks = _untied_ranks(values)
    critical = float(np.interp(math.log(n), np.log(_RUNS), _CRITICAL))
    places = _segmented(ranks, _cuts(ranks, critical), 0, n, critical)
    while True:
        # Each moves to where it is clearest between its neighbours; those that aren't clear there go.
        bounds = [0, *places, n]
        again = [_best_cut(ranks, a, b) for a, b in zip(bounds[:-2], bounds[2:], strict=True)]
        weakest = min(again, default=None)
        if weakest is None or weakest.score > critical:
            return sorted({cut.at for cut in again})
        del places[again.index(weakest)]


def statistic(values: Sequence[float]) -> float:
    """The greatest score over all intervals: what is above the critical value in 1 % of steady series."""
    return max(_cuts(_untied_ranks(values), -1.0)).score


def _untied_ranks(values: Sequence[float]) -> Values:
    """Ranks from 0; ties are broken by a seeded draw, since any order of them would look like a trend."""
    draw = np.random.default_rng(0).random(len(values))
    ranks = np.empty(len(values))
    ranks[np.lexsort((draw, np.asarray(values, dtype=float)))] = np.arange(len(values))
    return ranks


def _cuts(ranks: Values, least: float) -> list[_Cut]:
    """The best cut of each interval that scores above `least`. Lengths fall by the square root of two;
    neighbours are a quarter of their length apart."""
    cuts = []
    n = len(ranks)
    for halvings in range(2 * n.bit_length()):
        length = math.ceil(n / 2 ** (halvings / 2))
        if length < 2 * LEAST_RUNS:
            break
        count = math.ceil((n - length) / (length // 4)) + 1
        starts = np.linspace(0, n - length, count).round().astype(int)
        places, scores = _best_cuts(ranks[starts[:, None] + np.arange(length)])
        found = zip(scores.tolist(), starts.tolist(), places.tolist(), strict=True)
        cuts += [_Cut(score, at, at + length, at + place) for score, at, place in found if score > least]
    return cuts


def _best_cuts(windows: Values) -> tuple[npt.NDArray[np.int64], Values]:
    """For each row: after how many runs to cut it, and the standardised rank sum there."""
    n = windows.shape[1]
    ranks = np.empty(windows.shape)
    np.put_along_axis(ranks, windows.argsort(axis=1), np.arange(1.0, n + 1)[None, :], axis=1)
    before = np.arange(LEAST_RUNS, n - LEAST_RUNS + 1)
    sums = ranks.cumsum(axis=1)[:, before - 1]
    deviation = np.sqrt(before * (n - before) * (n + 1) / 12)
    scores = np.abs(sums - before * (n + 1) / 2) / deviation
    best = scores.argmax(axis=1)
    return before[best], scores[np.arange(len(windows)), best]


def _best_cut(ranks: Values, start: int, end: int) -> _Cut:
    (place,), (score,) = _best_cuts(ranks[None, start:end])
    return _Cut(float(score), start, end, start + int(place))


def _segmented(ranks: Values, cuts: Sequence[_Cut], start: int, end: int, critical: float) -> list[int]:
    """Cut where the score is greatest, then on either side within what lies there."""
    if end - start < 2 * LEAST_RUNS:
        return []
    within = [cut for cut in cuts if start <= cut.start and cut.end <= end]
    best = max([*within, _best_cut(ranks, start, end)], key=lambda cut: cut.score)
    if best.score <= critical:
        return []
    left = _segmented(ranks, within, start, best.at, critical)
    return [*left, best.at, *_segmented(ranks, within, best.at, end, critical)]


def ratio_between(before: Values, after: Values) -> Estimate:
    """How many times as long: Hodges-Lehmann with Moses' interval, evenly thinned where levels are long."""
    old, new = thinned(before.tolist()), thinned(after.tolist())
    differences = np.sort(np.subtract.outer(new, old).ravel())
    m, n = len(old), len(new)
    reach = Z_95 * math.sqrt(m * n * (m + n + 1) / 12)
    cut = max(0, math.floor(m * n / 2 - reach) - 1)
    low, point, high = np.exp([differences[cut], np.median(differences), differences[-1 - cut]])
    return Estimate(float(point), float(low), float(high), len(before) + len(after))


def _drift(levels: Sequence[Sequence[float]]) -> Estimate | None:
    slope = theil_sen([(thinned(range(len(logs))), thinned(logs)) for logs in levels])
    if slope is None:
        return None
    with np.errstate(over="ignore"):
        low, point, high = np.expm1([100 * slope.low, 100 * slope.point, 100 * slope.high])
    return Estimate(float(point), float(low), float(high), slope.points)


@dataclass(frozen=True)
class Prediction:
    """The history's centre (geometric mean), and the interval that one more run falls into. Each bound is
    one-sided, 95 %. `p` is the chance of a run as slow or slower, were it slower than the past by no more
    than the margin. `detectable` is the least change, as a share, that four of five such runs would show."""

    centre: float
    low: float
    high: float
    p: float
    detectable: float
    runs: int


def predict(history: Sequence[float], value: float, margin: float) -> Prediction | None:
    """Judge `value` by a history of the same figure; None of fewer than ten runs. Runs are taken to be
    independent and log-normal. Days are not: a machine can be another on a day that the history has none
    like, and then this raises a false alarm."""
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
        p=student_tail(excess / error, n - 1) if error else float(excess <= 0),
        detectable=(1 + margin) * math.exp(reach + _Z_80 * error) - 1,
        runs=n,
    )


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
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - student_tail(middle, freedom) < share else (low, middle)
    return low

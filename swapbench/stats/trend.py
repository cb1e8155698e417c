"""Whether, when and by how much a figure changed over many runs: information, never a verdict.

Levels are told apart by ranks, so one run that took ten times as long counts as one run above, no more. The
statistic is the greatest standardised rank sum (Mann and Whitney) over all places to cut, in intervals of all
lengths and places (seeded binary segmentation: Kovács, Bühlmann, Li and Munk 2023). Under a steady level
it depends on the number of runs alone, so its critical values are a table, simulated once.

What that keeps and what it doesn't: fewer than 1 % of steady series of independent runs show a change,
whatever their distribution. Runs that take after their neighbours alarm more often: 40 runs with a
correlation of 0.2 from one to the next in 2 % of series, 0.3 in 6 %, 0.5 in 20 %, 0.7 in 50 %. A slow drift
looks like a staircase.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from swapbench.stats.estimate import Estimate
from swapbench.stats.theil_sen import Slope, theil_sen, thinned

# A level is at least this many runs.
LEAST_RUNS: Final = 5

# By the number of runs, what the statistic passes in 1 % of steady series (20,000 shuffles of the shortest,
# 1,000 of the longest).
_RUNS: Final = (10, 12, 15, 20, 30, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_CRITICAL: Final = (2.45, 2.69, 2.82, 3.07, 3.27, 3.54, 3.86, 4.09, 4.35, 4.51, 4.66, 4.94, 5.00)

# Clocks tell nanoseconds; a phase that took less still has a logarithm.
_LEAST_S: Final = 1e-9

_Z_95: Final = 1.959963984540054
_MAD_TO_SIGMA: Final = 1.4826

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A change of level, from run number `at` on. `ratio` is new over old, with its 95 % interval.

    The ratio is the Hodges-Lehmann estimate between the level before and the level after. Its interval takes
    the place as given, though it was found in the same runs.
    """

    at: int
    ratio: Estimate


@dataclass(frozen=True)
class Trend:
    """How a figure went over runs. `levels` are their medians, in seconds, from one change to the next.

    `spread` is how far runs lie from their level, as a share of it (scaled median deviation); `drift` is the
    slope within levels as a share per 100 runs (Theil-Sen, 95 % interval), None below `LEAST_RUNS`.
    """

    levels: tuple[float, ...]
    changes: tuple[Change, ...]
    spread: float
    drift: Estimate | None


@dataclass(frozen=True)
class _Cut:
    start: int
    end: int
    at: int
    score: float


def trend_of(seconds: Sequence[float]) -> Trend:
    """The levels of a figure, oldest run first; at least one run.

    Below twice `LEAST_RUNS` no change can be found.
    """
    logs = np.log(np.maximum(np.asarray(seconds, dtype=float), _LEAST_S))
    places = change_points(seconds)
    parts = np.split(logs, places)
    return Trend(
        levels=tuple(float(np.exp(np.median(part))) for part in parts),
        changes=tuple(
            Change(at, ratio_between(before, after))
            for at, before, after in zip(places, parts[:-1], parts[1:], strict=True)
        ),
        spread=_spread(parts),
        drift=_drift(parts),
    )


def change_points(values: Sequence[float]) -> list[int]:
    """The numbers of the runs from which on the level is another one, ascending."""
    n = len(values)
    if n < 2 * LEAST_RUNS:
        return []
    ranks = _untied_ranks(np.asarray(values, dtype=float))
    critical = float(np.interp(math.log(n), np.log(_RUNS), _CRITICAL))
    places = _segmented(ranks, _cuts(ranks, critical), 0, n, critical)
    return _confirmed(ranks, places, critical)


def statistic(values: Sequence[float]) -> float:
    """The greatest score over all intervals: what is above the critical value in 1 % of steady series."""
    return max(cut.score for cut in _cuts(_untied_ranks(np.asarray(values, dtype=float)), -1.0))


def _untied_ranks(values: Values) -> Values:
    """Ranks from 0; ties are broken by a seeded draw, since any order of them would look like a trend."""
    draw = np.random.default_rng(0).random(len(values))
    ranks = np.empty(len(values))
    ranks[np.lexsort((draw, values))] = np.arange(len(values))
    return ranks


def _cuts(ranks: Values, least: float) -> list[_Cut]:
    """The best cut of each interval that scores above `least`.

    Lengths fall by the square root of two; neighbours are a quarter of their length apart.
    """
    cuts = []
    n = len(ranks)
    for halvings in range(2 * n.bit_length()):
        length = math.ceil(n / 2 ** (halvings / 2))
        if length < 2 * LEAST_RUNS:
            break
        count = math.ceil((n - length) / (length // 4)) + 1
        starts = np.linspace(0, n - length, count).round().astype(int)
        places, scores = _best_cuts(ranks[starts[:, None] + np.arange(length)])
        cuts += [
            _Cut(int(starts[i]), int(starts[i]) + length, int(starts[i] + places[i]), float(scores[i]))
            for i in np.flatnonzero(scores > least)
        ]
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


def _segmented(ranks: Values, cuts: Sequence[_Cut], start: int, end: int, critical: float) -> list[int]:
    """Cut where the score is greatest, then on either side within what lies there."""
    within = [cut for cut in cuts if start <= cut.start and cut.end <= end]
    own = _best_cut(ranks, start, end)
    best = max([*within, *([own] if own else [])], key=lambda cut: cut.score, default=None)
    if best is None or best.score <= critical:
        return []
    return [
        *_segmented(ranks, within, start, best.at, critical),
        best.at,
        *_segmented(ranks, within, best.at, end, critical),
    ]


def _best_cut(ranks: Values, start: int, end: int) -> _Cut | None:
    if end - start < 2 * LEAST_RUNS:
        return None
    (place,), (score,) = _best_cuts(ranks[None, start:end])
    return _Cut(start, end, start + int(place), float(score))


def _confirmed(ranks: Values, places: list[int], critical: float) -> list[int]:
    """Move each change to where it is clearest between its neighbours; drop those that aren't clear there."""
    confirmed = list(places)
    while True:
        bounds = [0, *confirmed, len(ranks)]
        again = [_best_cut(ranks, a, b) for a, b in zip(bounds[:-2], bounds[2:], strict=True)]
        weakest = min((cut for cut in again if cut), key=lambda cut: cut.score, default=None)
        if weakest is None or weakest.score > critical:
            return sorted({cut.at for cut in again if cut})
        del confirmed[again.index(weakest)]


def ratio_between(before: Values, after: Values) -> Estimate:
    """How many times as long: Hodges-Lehmann with Moses' interval, evenly thinned where levels are long."""
    old, new = thinned(list(before)), thinned(list(after))
    differences = np.sort(np.subtract.outer(new, old).ravel())
    m, n = len(old), len(new)
    reach = _Z_95 * math.sqrt(m * n * (m + n + 1) / 12)
    cut = max(0, math.floor(m * n / 2 - reach) - 1)
    low, point, high = np.exp([differences[cut], np.median(differences), differences[-1 - cut]])
    return Estimate(float(point), float(low), float(high), len(before) + len(after))


def _spread(parts: Sequence[Values]) -> float:
    rests = np.concatenate([np.abs(part - np.median(part)) for part in parts])
    return float(np.expm1(_MAD_TO_SIGMA * np.median(rests)))


def _drift(parts: Sequence[Values]) -> Estimate | None:
    numbered = [(thinned(range(len(part))), thinned(list(part))) for part in parts]
    slope = theil_sen([(list(xs), list(ys)) for xs, ys in numbered if len(ys) >= LEAST_RUNS])
    return None if slope is None else _per_hundred(slope)


def _per_hundred(slope: Slope) -> Estimate:
    with np.errstate(over="ignore"):
        low, point, high = np.expm1([100 * slope.low, 100 * slope.point, 100 * slope.high])
    return Estimate(float(point), float(low), float(high), slope.points)

"""Rank statistics of few, long, skewed samples: how far B lies from A, and how sure that is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

# Of each bound by itself: two of them make a 90 % interval.
CONFIDENCE: Final = 0.95

# Beyond, sums of ranks are as good as normal (a p-value errs by less than 0.005), and counting them takes
# long. Of two samples it is the smaller one that makes a sum normal: the limit is on its size times both's.
_EXACT_PAIRS: Final = 50
_EXACT_PRODUCT: Final = 1800

# What is nearer than this share of the largest is the same number, computed in two ways.
_TIE: Final = 1e-11

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """How far B lies above A: the Hodges-Lehmann estimate, and a one-sided 95 % bound on either side. A bound
    is infinite where n can carry none. `n` counts pairs, or the smaller of two samples."""

    point: float
    low: float
    high: float
    n: int


def paired_shift(differences: Sequence[float] | _Array) -> Shift | None:
    """The centre of B - A over pairs: the median of Walsh averages, bounded by inverting signed_rank_p. None
    without a pair. Fewer than 5 pairs bound nothing at 95 %."""
    d = np.asarray(differences, dtype=float)
    if not len(d):
        return None
    i, j = np.triu_indices(len(d))
    return _shift((d[i] + d[j]) / 2, len(d), lambda at, sign: signed_rank_p(sign * d, at))


def two_sample_shift(a: Sequence[float] | _Array, b: Sequence[float] | _Array) -> Shift | None:
    """How far sample `b` lies above sample `a`, of whatever sizes: the median of all differences, bounded by
    inverting rank_sum_p; None where either is empty."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not len(x) or not len(y):
        return None
    differences = (y[:, None] - x[None, :]).ravel()
    return _shift(differences, min(len(x), len(y)), lambda at, sign: rank_sum_p(sign * x, sign * y, at))


def signed_rank_p(differences: Sequence[float] | _Array, at: float = 0.0) -> float:
    """The chance of signed ranks as high or higher, were the differences symmetric around `at`. Wilcoxon's
    test, one-sided: small where B - A lies above `at`. Exact to 50 pairs, ties included; normal beyond that,
    its variance corrected for ties. Differences that equal `at` tell nothing and are left out."""
    d = np.asarray(differences, dtype=float)
    near = _near(d, at)
    d = d[np.abs(d - at) > near] - at
    if not len(d):
        return 1.0
    ranks = _doubled_ranks(np.abs(d), near)
    reached = int(ranks[d > 0].sum())
    if len(d) <= _EXACT_PAIRS:
        return float(_signed_rank_tail(tuple(sorted(ranks.tolist())))[reached])
    # A sum over independent signs: its variance is a quarter of the sum of squares.
    return _normal_tail(reached - ranks.sum() / 2, float((ranks.astype(float) ** 2).sum()) / 4)


def rank_sum_p(a: Sequence[float] | _Array, b: Sequence[float] | _Array, at: float = 0.0) -> float:
    """The chance that `b` ranks as high among both, or higher, were it `a` shifted by `at`. The Mann-Whitney
    test, one-sided: small where b - a lies above `at`. Exact, ties included, to 30 against 30 or 6 against
    290; normal beyond that, its variance corrected for ties."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not len(x) or not len(y):
        return 1.0
    if len(y) > len(x):
        # That b ranks high is that a ranks low: sums of the smaller one are quicker to count.
        return rank_sum_p(-y, -x, at)
    both = np.concatenate([x, y - at])
    ranks = _doubled_ranks(both, _near(both, at))
    reached, n, k = int(ranks[len(x) :].sum()), len(ranks), len(y)
    if k * n <= _EXACT_PRODUCT:
        return float(_rank_sum_tail(tuple(sorted(ranks.tolist())), k)[reached])
    # Drawing k of n without replacement.
    variance = k * (n - k) / (n - 1) * float(np.var(ranks))
    return _normal_tail(reached - k * float(ranks.mean()), variance)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for there being several (Holm): each may be held against the same level."""
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return tuple(adjusted)


def fewest_pairs(comparisons: int, alpha: float = 1 - CONFIDENCE) -> int:
    """How many pairs it takes at least before the smallest of several comparisons' p-values can pass Holm."""
    return math.ceil(math.log2(comparisons / alpha))


def _shift(candidates: _Array, n: int, p: Callable[[float, int], float]) -> Shift:
    """`p` is the p-value at a shift; with -1 for a sign, of everything mirrored."""
    low = _lower_bound(candidates, lambda at: p(at, 1))
    high = -_lower_bound(-candidates, lambda at: p(at, -1))
    return Shift(float(np.median(candidates)), low, high, n)


def _lower_bound(candidates: _Array, p: Callable[[float], float]) -> float:
    """The greatest shift below which every one is rejected: from gap to gap, p only rises. Between candidates
    a p-value stands still; it is looked at in the middle of the gaps."""
    ordered = np.sort(candidates)
    # Farther apart than ties reach, or a gap's middle would tie with its ends.
    steps = ordered[_begins(ordered, 4 * _near(ordered))]
    beyond = 1 + abs(steps[0]) + abs(steps[-1])
    gaps = np.concatenate([[-beyond], (steps[:-1] + steps[1:]) / 2, [beyond]])
    rejected, kept = -1, len(gaps) - 1
    while kept - rejected > 1:
        middle = (rejected + kept) // 2
        if p(float(gaps[middle])) <= 1 - CONFIDENCE:
            rejected = middle
        else:
            kept = middle
    return float(steps[kept - 1]) if kept else -math.inf


def _near(values: _Array, at: float = 0.0) -> float:
    """How far apart equal ones of these numbers may be."""
    return _TIE * max(float(np.abs(values).max(initial=0.0)), abs(at))


def _begins(ordered: _Array, near: float) -> npt.NDArray[np.bool_]:
    """Which of them are not tied with the one before."""
    return np.diff(ordered, prepend=-math.inf) > near


def _doubled_ranks(values: _Array, near: float) -> npt.NDArray[np.int64]:
    """Twice the rank of each value, so that ranks of tied ones (the mean of theirs) are whole numbers."""
    order = np.argsort(values)
    groups = _begins(values[order], near).cumsum() - 1
    counts = np.bincount(groups)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = (2 * counts.cumsum() - counts + 1)[groups]
    return ranks


@lru_cache(maxsize=256)
def _signed_rank_tail(ranks: tuple[int, ...]) -> _Array:
    """The chance of each sum or more, of ranks that are in it or not with even odds."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance = chance / 2
        chance[rank:] += chance[:-rank].copy()
    return _tail(chance)


@lru_cache(maxsize=256)
def _rank_sum_tail(ranks: tuple[int, ...], k: int) -> _Array:
    """The chance of each sum or more, of `k` of the ranks drawn at random."""
    ways = np.zeros((k + 1, sum(ranks[-k:]) + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        # Every row takes from the one before as it was before this rank.
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    return _tail(ways[k] / math.comb(len(ranks), k))


def _tail(chance: _Array) -> _Array:
    tail: _Array = np.minimum(1.0, np.cumsum(chance[::-1])[::-1])
    return tail


def _normal_tail(above: float, variance: float) -> float:
    """Of a sum of doubled ranks, which comes in steps of two: half a step belongs to what was reached."""
    return 1.0 if variance <= 0 else math.erfc((above - 1) / math.sqrt(2 * variance)) / 2

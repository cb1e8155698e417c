"""One figure under B against the same under A: how many times as much, and what can be said of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from swapbench.stats.estimate import Estimate, estimate
from swapbench.stats.ranks import Shift, paired_shift, rank_sum_p, signed_rank_p, two_sample_shift

# Ranks of fewer can say next to nothing once there are several comparisons.
FEWEST: Final = 6

# What lies at the margin does not pass it, whichever way its logarithm was rounded.
_SAME: Final = 1e-9

Unit = Literal["s", "bytes"]

# A figure of each swap that counts, by round.
ByRound = Mapping[int, float]


class Verdict(StrEnum):
    """What an interval and a margin say together."""

    SLOWER = "slower"
    FASTER = "faster"
    MORE = "more"
    LESS = "less"
    NO_WORSE = "no worse"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    # Of no consequence whatever it does; or shown, but never to be judged.
    TOO_SHORT = "too short to matter"
    NOT_COMPARABLE = "not comparable"


_ABOVE: Final[dict[Unit, Verdict]] = {"s": Verdict.SLOWER, "bytes": Verdict.MORE}
_BELOW: Final[dict[Unit, Verdict]] = {"s": Verdict.FASTER, "bytes": Verdict.LESS}


@dataclass(frozen=True)
class Change:
    """A figure in two runs. `ratio` is B / A, between two one-sided 95 % bounds.

    `p` is the chance of what was seen, or more, if B were slower by no more than the margin. `most` is how
    much more B could still be, as a share: what an inconclusive comparison may hide.
    """

    figure: str
    unit: Unit
    a: Estimate | None
    b: Estimate | None
    ratio: Shift | None
    verdict: Verdict
    most: float | None
    p: float | None

    @property
    def times(self) -> float | None:
        """B / A by the medians alone, where the figure was measured in both."""
        if self.a is None or self.b is None or self.a.point == 0:
            return None
        return self.b.point / self.a.point


def paired_change(figure: str, a: ByRound, b: ByRound, margin: float, unit: Unit = "s") -> Change:
    """Judged within rounds: ln(B / A) of every round that has both, by the signed-rank test.

    Where no round has both, either side is shown by itself: a server shows no phases, an engine does.
    """
    rounds = [n for n in a if n in b and a[n] > 0 and b[n] > 0]
    logs = [math.log(b[n] / a[n]) for n in rounds]
    p = signed_rank_p(logs, math.log1p(margin)) if logs else None
    xs, ys = ([side[n] for n in rounds or side] for side in (a, b))
    return _change(figure, unit, xs, ys, paired_shift(logs), p, margin)


def unpaired_change(figure: str, a: ByRound, b: ByRound, margin: float, unit: Unit = "s") -> Change:
    """Judged between runs, of whatever numbers of swaps, by the Mann-Whitney test on logarithms."""
    xs, ys = ([value for value in side.values() if value > 0] for side in (a, b))
    x, y = [math.log(v) for v in xs], [math.log(v) for v in ys]
    p = rank_sum_p(x, y, math.log1p(margin)) if x and y else None
    return _change(figure, unit, xs, ys, two_sample_shift(x, y), p, margin)


def _change(
    figure: str,
    unit: Unit,
    a: list[float],
    b: list[float],
    shift: Shift | None,
    p: float | None,
    margin: float,
) -> Change:
    ratio = None
    if shift is not None:
        point, low, high = map(math.exp, (shift.point, shift.low, shift.high))
        ratio = Shift(point, low, high, shift.n)
    return Change(
        figure=figure,
        unit=unit,
        a=estimate(a),
        b=estimate(b),
        ratio=ratio,
        verdict=_verdict(shift, math.log1p(margin), unit),
        most=None if ratio is None or math.isinf(ratio.high) else ratio.high - 1,
        p=p,
    )


def _verdict(shift: Shift | None, edge: float, unit: Unit) -> Verdict:
    """Beyond the edge on the worse or the better side, surely within it, or neither; all in logarithms."""
    if shift is None:
        return Verdict.NOT_MEASURED
    if shift.n < FEWEST:
        return Verdict.INCONCLUSIVE
    if shift.low > edge + _SAME:
        return _ABOVE[unit]
    if shift.high < -edge - _SAME:
        return _BELOW[unit]
    return Verdict.NO_WORSE if shift.high <= edge + _SAME else Verdict.INCONCLUSIVE

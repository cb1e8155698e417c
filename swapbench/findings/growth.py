"""Settled memory over the swaps of a run, as a picture of a leak shows it: points, slope, tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from swapbench.findings.leak import LeakFinding, considered
from swapbench.findings.swaps import Swap


@dataclass(frozen=True)
class Settled:
    """What a ledger had settled to after a swap, less what it had after the first considered one like it.

    Those like it are of the same scenario in the same worker: the same model is resident. `considered` are
    those that the slope rests on.
    """

    swap: int
    scenario: str
    bytes: float
    growth_bytes: float
    considered: bool


@dataclass(frozen=True)
class SlopeLine:
    """Ends of a line through the points, (swap, growth in bytes)."""

    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """One ledger over the run. `tolerance` has the steepest slope that is still no leak.

    `left_out` points are not among them, for there are too many.
    """

    finding: LeakFinding
    points: tuple[Settled, ...]
    slope: SlopeLine
    tolerance: SlopeLine
    left_out: int = 0


def growth_of(
    swaps: Sequence[Swap], leaks: Sequence[LeakFinding], tolerance_bytes: int
) -> tuple[Growth, ...]:
    """The growth of each ledger whose slope is known."""
    found = (_growth(swaps, leak, tolerance_bytes) for leak in leaks if leak.slope is not None)
    return tuple(growth for growth in found if growth is not None)


def _growth(swaps: Sequence[Swap], leak: LeakFinding, tolerance_bytes: int) -> Growth | None:
    points = _points(swaps, leak.ledger)
    judged = [point for point in points if point.considered]
    if not judged or leak.slope is None:
        return None
    first, last = float(judged[0].swap), float(judged[-1].swap)
    middle = median(point.swap for point in judged), median(point.growth_bytes for point in judged)
    return Growth(
        finding=leak,
        points=points,
        slope=_through(middle, leak.slope.point, first, last),
        tolerance=_through((first, 0.0), float(tolerance_bytes), first, last),
    )


def _points(swaps: Sequence[Swap], ledger: str) -> tuple[Settled, ...]:
    judged = {swap.index for swap in considered(swaps)}
    having = [swap for swap in swaps if swap.counted and ledger in swap.settled]
    origin: dict[tuple[int, str], float] = {}
    for swap in having:
        if swap.index in judged:
            origin.setdefault((swap.worker, swap.scenario), swap.settled[ledger])
    return tuple(
        Settled(
            swap=swap.index,
            scenario=swap.scenario,
            bytes=swap.settled[ledger],
            growth_bytes=swap.settled[ledger] - origin[swap.worker, swap.scenario],
            considered=swap.index in judged,
        )
        for swap in having
        if (swap.worker, swap.scenario) in origin
    )


def _through(point: tuple[float, float], slope: float, first: float, last: float) -> SlopeLine:
    x, y = point
    return SlopeLine((first, y + slope * (first - x)), (last, y + slope * (last - x)))

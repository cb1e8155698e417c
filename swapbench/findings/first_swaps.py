"""First swaps of a worker process beside later ones: a cell of their own, where a scenario has both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from swapbench.findings.headline import Headlined, headlines_by_scenario
from swapbench.findings.swaps import Swap
from swapbench.stats.estimate import Estimate, estimate

# Fewer have hardly a range that a first swap could lie outside of.
_ENOUGH_LATER: Final = 5

_VISIBLE: Final = 1.1


@dataclass(frozen=True)
class FirstSwaps:
    """The headline of first swaps and of later ones; `times` is the first ones' median over the later ones'.

    `differ` where that is a tenth or more either way, and outside all of at least five later swaps.
    """

    scenario: str
    first: Estimate
    later: Estimate
    times: float
    differ: bool


def first_swaps(swaps: Sequence[Swap]) -> tuple[FirstSwaps, ...]:
    """For each scenario whose counted swaps are neither all first ones nor all later ones."""
    compared = (_compared(name, its) for name, its in headlines_by_scenario(swaps).items())
    return tuple(found for found in compared if found is not None)


def _compared(scenario: str, swaps: Sequence[Headlined]) -> FirstSwaps | None:
    first = estimate(one.seconds for one in swaps if one.first)
    others = [one.seconds for one in swaps if not one.first]
    later = estimate(others)
    if first is None or later is None:
        return None
    outside = not min(others) <= first.point <= max(others)
    times = first.point / later.point
    visible = max(times, 1 / times) >= _VISIBLE
    return FirstSwaps(scenario, first, later, times, outside and visible and len(others) >= _ENOUGH_LATER)

"""Swaps that stand out from the others of their scenario: flagged, and kept in every figure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from swapbench.base.phases import FIRST_TOKEN, PHASES
from swapbench.findings.headline import Headlined, headline_figure, headlines_by_scenario
from swapbench.findings.swaps import Swap

# Of fewer values nobody can say which one is the odd one.
_ENOUGH: Final = 6

_SPREADS: Final = 5.0

# Of values spread normally, the median absolute deviation is this part of the standard deviation.
_MAD_OF_NORMAL: Final = 0.6744897501960817

# Clocks and schedulers alone make swaps differ by this, and equal ones have no spread at all.
_LEAST_SPREAD: Final = 0.02

_UNATTRIBUTED: Final = "unattributed"


@dataclass(frozen=True)
class Outlier:
    """A swap that stands out: `times` its scenario's median, mostly because of one phase.

    `phase` is the one that exceeds its own median most (falls below it most, in a swap that was too fast),
    by `phase_excess_s`; empty where no phase was measured. `first` is as in `Headlined`.
    """

    scenario: str
    round: int
    seconds: float
    median_s: float
    times: float
    phase: str
    phase_excess_s: float
    first: bool


def find_outliers(swaps: Sequence[Swap]) -> tuple[Outlier, ...]:
    """The counted swaps that stand out from their scenario's, the farthest out first; none below 6 swaps.

    The rule: on the logarithm of the headline figure, farther from the median than five robust standard
    deviations (median absolute deviation / 0.6745). The deviation is taken for 2 % at the least, so that
    nearly equal swaps don't flag each other: nothing within a tenth of the median is flagged. Of swaps with
    nothing wrong and normal logarithms it flags 1.2 % at n = 6, 0.4 % at 10 and 0.1 % at 20; where the time
    has an exponential tail, 3 %, 2 % and 1 %.
    """
    found = [
        (distance, outlier)
        for scenario in headlines_by_scenario(swaps).values()
        for distance, outlier in _outliers(scenario)
    ]
    return tuple(outlier for _, outlier in sorted(found, key=lambda entry: -entry[0]))


def _outliers(swaps: Sequence[Headlined]) -> Iterator[tuple[float, Outlier]]:
    if len(swaps) < _ENOUGH:
        return
    logs = [math.log(one.seconds) for one in swaps]
    middle = median(logs)
    spread = max(median(abs(log - middle) for log in logs) / _MAD_OF_NORMAL, _LEAST_SPREAD)
    for one, log in zip(swaps, logs, strict=True):
        if abs(log - middle) > _SPREADS * spread:
            yield abs(log - middle) / spread, _outlier(one, swaps)


def _outlier(one: Headlined, swaps: Sequence[Headlined]) -> Outlier:
    median_s = median(other.seconds for other in swaps)
    phase, excess_s = _reason(one, swaps, slower=one.seconds > median_s)
    return Outlier(
        scenario=one.swap.scenario,
        round=one.swap.round,
        seconds=one.seconds,
        median_s=median_s,
        times=one.seconds / median_s,
        phase=phase,
        phase_excess_s=excess_s,
        first=one.first,
    )


def _reason(one: Headlined, swaps: Sequence[Headlined], slower: bool) -> tuple[str, float]:
    """The part of the swap that is farthest from its own median, in the direction of the whole."""
    counted = [other.swap for other in swaps]
    ends_at_token = headline_figure(counted) == "to_first_token"
    usual = [_parts(swap, ends_at_token) for swap in counted]
    excess = {
        part: seconds - median(parts[part] for parts in usual if part in parts)
        for part, seconds in _parts(one.swap, ends_at_token).items()
    }
    if not excess:
        return "", 0.0
    part = (max if slower else min)(excess, key=lambda name: excess[name])
    return part, excess[part]


def _parts(swap: Swap, ends_at_token: bool) -> Mapping[str, float]:
    parts = {str(phase): swap.phase_s(phase) for phase in PHASES}
    parts[_UNATTRIBUTED] = swap.figures.get("unattributed_s")
    if ends_at_token:
        parts[FIRST_TOKEN] = swap.figures.get("first_token_s")
    return {part: seconds for part, seconds in parts.items() if seconds is not None}

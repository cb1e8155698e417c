"""Whether the swaps of a run are alike: outliers, drift over rounds, first swaps beside later ones."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from swapbench.base.figures import change
from swapbench.base.phases import FIRST_TOKEN, PHASES
from swapbench.findings.swaps import Headlined, Swap, headline_figure, headlines_by_scenario
from swapbench.stats.estimate import Estimate, Series, estimate, theil_sen

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
    """Each with how many spreads away it lies."""
    if len(swaps) < _ENOUGH:
        return
    logs = [math.log(one.seconds) for one in swaps]
    middle, median_s = median(logs), median(one.seconds for one in swaps)
    spread = max(median(abs(log - middle) for log in logs) / _MAD_OF_NORMAL, _LEAST_SPREAD)
    for one, log in zip(swaps, logs, strict=True):
        if abs(log - middle) > _SPREADS * spread:
            phase, excess_s = _reason(one, swaps, slower=one.seconds > median_s)
            yield (
                abs(log - middle) / spread,
                Outlier(
                    scenario=one.swap.scenario,
                    round=one.swap.round,
                    seconds=one.seconds,
                    median_s=median_s,
                    times=one.seconds / median_s,
                    phase=phase,
                    phase_excess_s=excess_s,
                    first=one.first,
                ),
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


# Less than this between two rounds changes nobody's mind.
_WORTH_A_WORD: Final = 0.02

DriftOutcome = Literal["slower", "faster", "none found", "not tested"]


@dataclass(frozen=True)
class Drift:
    """How the headline changes from the first to the last round, as a share of it: 0.1 is a tenth slower.

    `low` and `high` are its 95 % interval. Where it holds 0, no drift is found, and one as large as its ends
    can hide. Not tested is what has too few rounds for an interval.
    """

    outcome: DriftOutcome
    change: float | None
    low: float | None
    high: float | None
    rounds: int


def find_drift(swaps: Sequence[Swap]) -> Drift:
    """The drift of a run's counted swaps over its rounds, all scenarios together.

    Each swap's logarithm is taken against its scenario's median; a round is the median of its swaps. So what
    a whole round has in common, as a machine that is busy for a while, counts once: pooling the scenarios'
    own slopes instead finds a drift in one run in seven that has none. Over the rounds, the Theil-Sen slope
    with Sen's interval. The first swap of a scenario in a worker process is left out, as it would look like a
    run that gets faster.
    """
    series = [_by_round(worker) for worker in _by_worker(swaps).values()]
    rounds = sorted({number for numbers, _ in series for number in numbers})
    slope = theil_sen(series)
    if slope is None or math.isinf(slope.low) or math.isinf(slope.high):
        return Drift("not tested", None, None, None, len(rounds))
    outcome: DriftOutcome = "slower" if slope.low > 0 else "faster" if slope.high < 0 else "none found"
    # What slopes of logarithms come to, within what a float can hold.
    low, point, high = (
        math.expm1(min(per_round * (rounds[-1] - rounds[0]), 100.0))
        for per_round in (slope.low, slope.point, slope.high)
    )
    return Drift(outcome, point, low, high, len(rounds))


def _by_worker(swaps: Sequence[Swap]) -> Mapping[int, Sequence[Sequence[Headlined]]]:
    """The swaps of each worker process, by scenario, without the first ones."""
    workers: dict[int, list[list[Headlined]]] = {}
    for scenario in headlines_by_scenario(swaps).values():
        later = [one for one in scenario if not one.first]
        for worker in dict.fromkeys(one.swap.worker for one in later):
            workers.setdefault(worker, []).append([one for one in later if one.swap.worker == worker])
    return workers


def _by_round(scenarios: Sequence[Sequence[Headlined]]) -> Series:
    """The median of each round's swaps, each of them against its scenario's median."""
    rounds: dict[int, list[float]] = {}
    for scenario in scenarios:
        middle = median(math.log(one.seconds) for one in scenario)
        for one in scenario:
            rounds.setdefault(one.swap.round, []).append(math.log(one.seconds) - middle)
    numbers = sorted(rounds)
    return [float(number) for number in numbers], [median(rounds[number]) for number in numbers]


def drift_advice(drift: Drift) -> Iterator[str]:
    """What to do about a drift that is large enough to matter."""
    if drift.change is None or abs(drift.change) < _WORTH_A_WORD:
        return
    if drift.outcome == "slower":
        yield (
            f"swaps get {change(drift.change)} slower while the run goes on: the machine heats up, or "
            "something else has begun to run (`swapbench doctor`); compare only what ran interleaved"
        )
    elif drift.outcome == "faster":
        yield (
            f"swaps get {change(-drift.change)} faster while the run goes on: something else ran at "
            "first, or caches still filled (more warm-up rounds); compare only what ran interleaved"
        )


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

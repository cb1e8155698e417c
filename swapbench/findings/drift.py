"""Whether swaps get slower or faster while the run goes on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from swapbench.findings.figures import change
from swapbench.findings.headline import Headlined, headlines_by_scenario
from swapbench.findings.swaps import Swap
from swapbench.stats.theil_sen import Series, Slope, theil_sen

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
    own slopes instead finds a drift in one
    run in seven that has none. Over the rounds, the Theil-Sen slope with Sen's
    interval. The first swap of a scenario in a worker process is left out, as it would look like a run that
    gets faster.
    """
    series = [_by_round(worker) for worker in _by_worker(swaps).values()]
    rounds = sorted({number for numbers, _ in series for number in numbers})
    slope = theil_sen(series)
    if slope is None or math.isinf(slope.low) or math.isinf(slope.high):
        return Drift("not tested", None, None, None, len(rounds))
    low, point, high = (
        _share(slope_, rounds[-1] - rounds[0]) for slope_ in (slope.low, slope.point, slope.high)
    )
    return Drift(_outcome(slope), point, low, high, len(rounds))


def _outcome(slope: Slope) -> DriftOutcome:
    return "slower" if slope.low > 0 else "faster" if slope.high < 0 else "none found"


def _share(slope: float, rounds: float) -> float:
    """What a slope of logarithms comes to, within what a float can hold."""
    return math.expm1(min(slope * rounds, 100.0))


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

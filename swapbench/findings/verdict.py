"""What the experiment demands, and whether the results meet it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from swapbench.base import figures
from swapbench.base.phases import LEDGER_LABELS
from swapbench.findings.memory import (
    JUDGED,
    LeakFinding,
    LeakOutcome,
    ScenarioMemory,
    per_swap,
    undecided,
    worst,
)
from swapbench.findings.strategies import STOCK, Ladder
from swapbench.findings.summary import AgainstTarget, Bottleneck, ScenarioSummary
from swapbench.spec.experiment import Criterion, CriterionKind, Experiment

# A phase is the bottleneck when it is the longest in at least this share of a scenario's swaps.
_LONGEST_IN: Final = 0.9

# Allocators keep and return memory in steps of megabytes: of a smaller model, the footprint tells nothing.
_FOOTPRINT_TELLS_BYTES: Final = 64 << 20


# A median of fewer ratios is one swap's luck.
_ENOUGH_ROUNDS: Final = 5

_WHAT: Final = {"total": "the whole swap", "weights": "weights"}


class CriterionOutcome(StrEnum):
    """What became of a criterion."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class CriterionVerdict:
    """One criterion with its outcome. Those that every run is held to need not be declared."""

    kind: CriterionKind
    title: str
    outcome: CriterionOutcome
    reason: str
    declared: bool


@dataclass(frozen=True)
class Evidence:
    """What criteria are judged by. Without `claims` the models are stand-ins, and so is the target."""

    experiment: Experiment
    claims: bool
    scenarios: Sequence[ScenarioSummary]
    memory: Sequence[ScenarioMemory]
    leaks: Sequence[LeakFinding]
    ladders: Sequence[Ladder] = ()


_Judgement = tuple[CriterionOutcome, str]
_TARGET_KINDS: Final = (CriterionKind.ANY_UNDER_TARGET, CriterionKind.ALL_UNDER_TARGET)
_OF_LEAKS: Final[dict[LeakOutcome, CriterionOutcome]] = {
    "leak": CriterionOutcome.FAIL,
    "clean": CriterionOutcome.PASS,
    "not judged": CriterionOutcome.NOT_JUDGED,
}


def judge(evidence: Evidence) -> tuple[CriterionVerdict, ...]:
    """A verdict for each declared criterion, and for the target and leaks where they are not declared."""
    declared = evidence.experiment.criterion
    kinds = {criterion.kind for criterion in declared}
    implied = []
    if not kinds.intersection(_TARGET_KINDS):
        implied.append(Criterion(kind=CriterionKind.ALL_UNDER_TARGET))
    if CriterionKind.NO_LEAK not in kinds:
        implied.append(Criterion(kind=CriterionKind.NO_LEAK))
    return tuple(_verdict(c, evidence, True) for c in declared) + tuple(
        _verdict(c, evidence, False) for c in implied
    )


def _verdict(criterion: Criterion, evidence: Evidence, declared: bool) -> CriterionVerdict:
    judges: dict[CriterionKind, Callable[[], _Judgement]] = {
        CriterionKind.ANY_UNDER_TARGET: lambda: _under_target(evidence, some=True),
        CriterionKind.ALL_UNDER_TARGET: lambda: _under_target(evidence, some=False),
        CriterionKind.BOTTLENECK_IDENTIFIED: lambda: _bottleneck(evidence.scenarios),
        CriterionKind.NO_LEAK: lambda: _no_leak(evidence.leaks),
        CriterionKind.MEMORY_RECLAIMED: lambda: _reclaimed(evidence.memory, criterion.at_least),
        CriterionKind.TIMES_FASTER: lambda: _times_faster(evidence, criterion),
    }
    outcome, reason = judges[criterion.kind]()
    title = criterion.title or _own_words(criterion, evidence.experiment.target_s)
    return CriterionVerdict(criterion.kind, title, outcome, reason, declared)


def _own_words(criterion: Criterion, target_s: float) -> str:
    return {
        CriterionKind.ANY_UNDER_TARGET: f"at least one scenario under {target_s:g} s",
        CriterionKind.ALL_UNDER_TARGET: f"every scenario under {target_s:g} s",
        CriterionKind.BOTTLENECK_IDENTIFIED: "the bottleneck is identified",
        CriterionKind.NO_LEAK: "no memory leak across swaps",
        CriterionKind.MEMORY_RECLAIMED: f"at least {figures.percent(criterion.at_least)} of the old model's "
        "memory comes back",
        CriterionKind.TIMES_FASTER: f"{criterion.strategy or 'the best strategy'} is at least "
        f"{figures.factor(criterion.times)} as fast as stock: {_WHAT[criterion.of]} of {criterion.scenario}",
    }[criterion.kind]


def _under_target(evidence: Evidence, some: bool) -> _Judgement:
    """By the median total of each scenario: any (`some`) or all of them under the target."""
    if not evidence.claims:
        return CriterionOutcome.NOT_JUDGED, "mini models: their times say nothing about the real ones"
    measured = [(s.name, s.against_target) for s in evidence.scenarios if s.against_target is not None]
    if not measured:
        told = any(s.headline for s in evidence.scenarios)
        why = "no total is told of swaps like these" if told else "no swap was measured that counts"
        return CriterionOutcome.INCONCLUSIVE, why
    under = [name for name, against in measured if against.side == "under"]
    reached = bool(under) if some else len(under) == len(measured)
    missing = len(evidence.scenarios) - len(measured)
    reason = _target_reason(measured, some)
    if missing and reached is not some:
        # What was not measured could still turn the verdict.
        return CriterionOutcome.INCONCLUSIVE, f"{reason}; {figures.counted(missing, 'scenario')} not measured"
    return (CriterionOutcome.PASS if reached else CriterionOutcome.FAIL), reason


def _target_reason(measured: Sequence[tuple[str, AgainstTarget]], some: bool) -> str:
    """Where the scenario that decides stands: the fastest for any, the slowest for all."""
    pick = min if some else max
    name, held = pick(measured, key=lambda entry: entry[1].seconds)
    until = "" if held.figure == "total" else " to the first token"
    return (
        f"{name} takes {figures.seconds(held.seconds)}{until}, {figures.factor(held.factor)} {held.side} "
        f"{held.target_s:g} s; {_reliability(held)}"
    )


def _reliability(against: AgainstTarget) -> str:
    """What the number of swaps under the target supports, in words."""
    swaps = f"{against.swaps_under} of {figures.counted(against.n, 'swap')} under"
    if against.swaps_under == 0:
        return swaps
    return f"{swaps} supports {figures.percent(against.reliability)} reliability at 95 % confidence"


def _bottleneck(scenarios: Sequence[ScenarioSummary]) -> _Judgement:
    if scenarios and all(s.outside is not None for s in scenarios):
        return CriterionOutcome.NOT_JUDGED, "seen from outside: no phase of a swap can be told from another"
    if not any(s.bottleneck for s in scenarios):
        return CriterionOutcome.INCONCLUSIVE, "no swap was measured that counts"
    for scenario in scenarios:
        doubt = _doubt(scenario)
        if doubt:
            return CriterionOutcome.INCONCLUSIVE, f"{scenario.name}: {doubt}"
    return CriterionOutcome.PASS, _shares([(s.name, s.bottleneck) for s in scenarios if s.bottleneck])


def _shares(found: Sequence[tuple[str, Bottleneck]]) -> str:
    """`load takes 98 % of there, 64 % of back`, by phase."""
    by_phase: dict[str, list[str]] = {}
    for name, bottleneck in found:
        by_phase.setdefault(bottleneck.phase, []).append(f"{figures.percent(bottleneck.share)} of {name}")
    return "; ".join(f"{phase} takes {', '.join(shares)}" for phase, shares in by_phase.items())


def _doubt(scenario: ScenarioSummary) -> str:
    """Why a scenario's bottleneck is not sure; empty when it is."""
    bottleneck, unattributed = scenario.bottleneck, scenario.unattributed.share or 0.0
    if bottleneck is None:
        return "not measured"
    # Both of the swap itself: its headline may be another whole.
    if unattributed > max(phase.share or 0.0 for phase in scenario.phases):
        return f"{figures.percent(unattributed)} of the swap is in no phase, more than in {bottleneck.phase}"
    if bottleneck.longest_in < _LONGEST_IN * bottleneck.n:
        return f"{bottleneck.phase} is the longest in only {bottleneck.longest_in} of {bottleneck.n} swaps"
    return ""


def _no_leak(leaks: Sequence[LeakFinding]) -> _Judgement:
    overall = worst(leaks)
    outcome = _OF_LEAKS.get(overall, CriterionOutcome.INCONCLUSIVE)
    deciding = [leak for leak in leaks if leak.ledger in JUDGED and leak.outcome == overall]
    if not deciding:
        return outcome, "no memory of its own was recorded, and the machine's is not judged"
    if overall in ("not measurable", "not judged"):
        return outcome, deciding[0].reason
    if overall == "leak":
        grows = [f"{_label(leak)} {per_swap(leak.slope.point)}" for leak in deciding if leak.slope]
        return outcome, ", ".join(grows)
    names = ", ".join(_label(leak) for leak in deciding)
    if overall == "clean":
        return outcome, f"settled memory grows by less than is tolerated: {names}"
    return outcome, f"{undecided(deciding[0].rounds, deciding[0].rounds_wanted)}: {names}"


def _times_faster(evidence: Evidence, criterion: Criterion) -> _Judgement:
    """By the median ratio of rounds; the best strategy of all, where none is named."""
    if not evidence.claims:
        return CriterionOutcome.NOT_JUDGED, "mini models: their times say nothing about the real ones"
    rungs = next((ladder.rungs for ladder in evidence.ladders if ladder.scenario == criterion.scenario), ())
    ratios = [
        (ratio, rung.strategy)
        for rung in rungs
        if criterion.strategy in ("", rung.strategy) and rung.strategy != STOCK
        if (ratio := rung.total_times if criterion.of == "total" else rung.weights_times) is not None
    ]
    if not ratios:
        return CriterionOutcome.INCONCLUSIVE, "there is no round in which both it and stock were measured"
    ratio, strategy = max(ratios, key=lambda entry: entry[0].point)
    reason = (
        f"{strategy} is {figures.factor(ratio.point)} as fast ({figures.factor(ratio.low)} to "
        f"{figures.factor(ratio.high)} over {figures.counted(ratio.n, 'round')})"
    )
    if ratio.n < _ENOUGH_ROUNDS:
        return CriterionOutcome.INCONCLUSIVE, f"{reason}; {_ENOUGH_ROUNDS} rounds are wanted"
    return (CriterionOutcome.PASS if ratio.point >= criterion.times else CriterionOutcome.FAIL), reason


def _label(leak: LeakFinding) -> str:
    return LEDGER_LABELS[leak.ledger]


def _reclaimed(memory: Sequence[ScenarioMemory], at_least: float) -> _Judgement:
    """By what unload gave back of the old model's bytes, in MLX's counter and in the process footprint."""
    shares = [
        (share, f"{LEDGER_LABELS[ledger.ledger]} in {scenario.scenario}")
        for scenario in memory
        for ledger in scenario.ledgers
        if (share := _share_returned(scenario, ledger.ledger)) is not None
    ]
    if not shares:
        why = "neither the old models' bytes nor the ledgers around unload are known"
        return CriterionOutcome.INCONCLUSIVE, why
    share, where = min(shares)
    reason = f"unload gives back at least {figures.percent(share)} of the old model's bytes ({where})"
    return (CriterionOutcome.PASS if share >= at_least else CriterionOutcome.FAIL), reason


def _share_returned(scenario: ScenarioMemory, ledger: str) -> float | None:
    old = scenario.old_model_bytes
    returned = next((entry.returned for entry in scenario.ledgers if entry.ledger == ledger), None)
    if not old or returned is None or ledger not in ("mlx_active", "footprint"):
        return None
    if ledger == "footprint" and old < _FOOTPRINT_TELLS_BYTES:
        return None
    return returned.point / old

"""What the experiment demands, and whether the results meet it."""

import math
from collections.abc import Iterable, Sequence
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
from swapbench.findings.summary import ScenarioSummary
from swapbench.spec.experiment import Criterion, CriterionKind, Experiment

# A phase is the bottleneck when it is the longest in at least this share of a scenario's swaps.
_LONGEST_IN: Final = 0.9

# Allocators keep and return memory in steps of megabytes: of a smaller model, the footprint tells nothing.
_TELLS_FROM_BYTES: Final = {"mlx_active": 1, "footprint": 64 << 20}

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
_MINI: Final = CriterionOutcome.NOT_JUDGED, "mini models: their times say nothing about the real ones"
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
    implied = [] if kinds.intersection(_TARGET_KINDS) else [CriterionKind.ALL_UNDER_TARGET]
    implied += [] if CriterionKind.NO_LEAK in kinds else [CriterionKind.NO_LEAK]
    return (
        *(_verdict(criterion, evidence, True) for criterion in declared),
        *(_verdict(Criterion(kind=kind), evidence, False) for kind in implied),
    )


def _verdict(criterion: Criterion, evidence: Evidence, declared: bool) -> CriterionVerdict:
    target = f"under {evidence.experiment.target_s:g} s"
    match criterion.kind:
        case CriterionKind.ANY_UNDER_TARGET:
            title, judgement = f"at least one scenario {target}", _under_target(evidence, some=True)
        case CriterionKind.ALL_UNDER_TARGET:
            title, judgement = f"every scenario {target}", _under_target(evidence, some=False)
        case CriterionKind.BOTTLENECK_IDENTIFIED:
            title, judgement = "the bottleneck is identified", _bottleneck(evidence.scenarios)
        case CriterionKind.NO_LEAK:
            title, judgement = "no memory leak across swaps", _no_leak(evidence.leaks)
        case CriterionKind.MEMORY_RECLAIMED:
            title = f"at least {figures.percent(criterion.at_least)} of the old model's memory comes back"
            judgement = _reclaimed(evidence.memory, criterion.at_least)
        case CriterionKind.TIMES_FASTER:
            title = (
                f"{criterion.strategy or 'the best strategy'} is at least {figures.factor(criterion.times)} "
                f"as fast as stock: {_WHAT[criterion.of]} of {criterion.scenario}"
            )
            judgement = _times_faster(evidence, criterion)
    return CriterionVerdict(criterion.kind, criterion.title or title, *judgement, declared)


def _reached(reached: bool, reason: str) -> _Judgement:
    return CriterionOutcome.PASS if reached else CriterionOutcome.FAIL, reason


def _open(reason: str) -> _Judgement:
    return CriterionOutcome.INCONCLUSIVE, reason


def _under_target(evidence: Evidence, some: bool) -> _Judgement:
    """By the median total of each scenario: any (`some`) or all of them under the target. The reason tells
    where the scenario that decides stands: the fastest for any, the slowest for all."""
    if not evidence.claims:
        return _MINI
    measured = [(s.name, s.against_target) for s in evidence.scenarios if s.against_target is not None]
    if not measured:
        told = any(s.headline for s in evidence.scenarios)
        return _open("no total is told of swaps like these" if told else "no swap was measured that counts")
    name, held = (min if some else max)(measured, key=lambda entry: entry[1].seconds)
    until = "" if held.figure == "total" else " to the first token"
    reliability = f"{held.swaps_under} of {figures.counted(held.n, 'swap')} under"
    if held.swaps_under:
        reliability += f" supports {figures.percent(held.reliability)} reliability at 95 % confidence"
    reason = (
        f"{name} takes {figures.seconds(held.seconds)}{until}, {figures.factor(held.factor)} {held.side} "
        f"{held.target_s:g} s; {reliability}"
    )
    reached = (any if some else all)(against.side == "under" for _, against in measured)
    missing = len(evidence.scenarios) - len(measured)
    if missing and reached is not some:
        # What was not measured could still turn the verdict.
        return _open(f"{reason}; {figures.counted(missing, 'scenario')} not measured")
    return _reached(reached, reason)


def _bottleneck(scenarios: Sequence[ScenarioSummary]) -> _Judgement:
    if scenarios and all(s.outside is not None for s in scenarios):
        return CriterionOutcome.NOT_JUDGED, "seen from outside: no phase of a swap can be told from another"
    if not any(s.bottleneck for s in scenarios):
        return _open("no swap was measured that counts")
    by_phase: dict[str, list[str]] = {}
    for scenario in scenarios:
        found, unattributed = scenario.bottleneck, scenario.unattributed.share or 0.0
        if found is None:
            return _open(f"{scenario.name}: not measured")
        # Both of the swap itself: its headline may be another whole.
        if unattributed > max(phase.share or 0.0 for phase in scenario.phases):
            share = figures.percent(unattributed)
            return _open(f"{scenario.name}: {share} of the swap is in no phase, more than in {found.phase}")
        if found.longest_in < _LONGEST_IN * found.n:
            only = f"only {found.longest_in} of {found.n} swaps"
            return _open(f"{scenario.name}: {found.phase} is the longest in {only}")
        by_phase.setdefault(found.phase, []).append(f"{figures.percent(found.share)} of {scenario.name}")
    takes = (f"{phase} takes {', '.join(shares)}" for phase, shares in by_phase.items())
    return CriterionOutcome.PASS, "; ".join(takes)


def _no_leak(leaks: Iterable[LeakFinding]) -> _Judgement:
    judged = [leak for leak in leaks if leak.ledger in JUDGED]
    overall = worst(judged)
    outcome = _OF_LEAKS.get(overall, CriterionOutcome.INCONCLUSIVE)
    deciding = [leak for leak in judged if leak.outcome == overall]
    if not deciding:
        return outcome, "no memory of its own was recorded, and the machine's is not judged"
    names = ", ".join(LEDGER_LABELS[leak.ledger] for leak in deciding)
    grows = [f"{LEDGER_LABELS[leak.ledger]} {per_swap(leak.slope.point)}" for leak in deciding if leak.slope]
    reasons: dict[LeakOutcome, str] = {
        "leak": ", ".join(grows),
        "clean": f"settled memory grows by less than is tolerated: {names}",
        "inconclusive": f"{undecided(deciding[0].rounds, deciding[0].rounds_wanted)}: {names}",
    }
    return outcome, reasons.get(overall, deciding[0].reason)


def _times_faster(evidence: Evidence, criterion: Criterion) -> _Judgement:
    """By the median ratio of rounds; the best strategy of all, where none is named."""
    if not evidence.claims:
        return _MINI
    rungs = next((ladder.rungs for ladder in evidence.ladders if ladder.scenario == criterion.scenario), ())
    ratios = [
        (ratio, rung.strategy)
        for rung in rungs
        if criterion.strategy in ("", rung.strategy) and rung.strategy != STOCK
        if (ratio := rung.total_times if criterion.of == "total" else rung.weights_times) is not None
    ]
    if not ratios:
        return _open("there is no round in which both it and stock were measured")
    ratio, strategy = max(ratios, key=lambda entry: entry[0].point)
    reason = (
        f"{strategy} is {figures.factor(ratio.point)} as fast ({figures.factor(ratio.low)} to "
        f"{figures.factor(ratio.high)} over {figures.counted(ratio.n, 'round')})"
    )
    if ratio.n < _ENOUGH_ROUNDS:
        return _open(f"{reason}; {_ENOUGH_ROUNDS} rounds are wanted")
    return _reached(ratio.point >= criterion.times, reason)


def _reclaimed(memory: Iterable[ScenarioMemory], at_least: float) -> _Judgement:
    """By what unload gave back of the old model's bytes, in MLX's counter and in the process footprint."""
    shares = [
        (ledger.returned.point / old, f"{LEDGER_LABELS[ledger.ledger]} in {scenario.scenario}")
        for scenario in memory
        for ledger in scenario.ledgers
        if (old := scenario.old_model_bytes) and old >= _TELLS_FROM_BYTES.get(ledger.ledger, math.inf)
        if ledger.returned is not None
    ]
    if not shares:
        return _open("neither the old models' bytes nor the ledgers around unload are known")
    share, where = min(shares)
    reason = f"unload gives back at least {figures.percent(share)} of the old model's bytes ({where})"
    return _reached(share >= at_least, reason)

"""A run, judged: everything that a report shows, the exit code, and the verdict in one line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from swapbench.base import figures
from swapbench.base.errors import Exit
from swapbench.findings.anomalies import (
    Drift,
    Failure,
    FirstSwaps,
    Outlier,
    Symptom,
    drift_advice,
    failures_of,
    find_drift,
    find_outliers,
    find_symptoms,
    first_swaps,
)
from swapbench.findings.memory import LeakFinding, ScenarioMemory, baseline_of, find_leaks, memory_of
from swapbench.findings.runs import RunFacts, by_cell, facts_of, reloads
from swapbench.findings.serving import ClientsFelt, Restores, clients_felt, restores_of
from swapbench.findings.strategies import AgainstLimit, Ladder, against_limits, ladders
from swapbench.findings.summary import Counts, ScenarioSummary, Sharing, count, sharing_of, summarise
from swapbench.findings.swaps import Swap, swaps_of
from swapbench.findings.verdict import CriterionOutcome, CriterionVerdict, Evidence, judge
from swapbench.machine.environment import Limits
from swapbench.spec.experiment import CriterionKind, Experiment
from swapbench.store import Run, experiment_of

# More of a swap than this in no phase is explained, or the phases do not explain the swap.
_UNATTRIBUTED_SHARE: Final = 0.01

# Clocks are read to the nanosecond; what differs by more than this was not measured as one swap.
_SUM_TOLERANCE_S: Final = 1e-4

# What other processes page out meanwhile stays below this.
_SWAP_USED_GROWTH_BYTES: Final = 64 << 20

_FROM_OUTSIDE: Final = (
    "seen from outside: no phase of a swap can be told from another; where asking swaps, the total is the "
    "first token's time less that of the same request, hot"
)

_PROBE_FIRST: Final = (
    "how near the loads come to the machine's limit is not known: run `swapbench probe` on it, then "
    "`swapbench report`"
)

ProblemKind = Literal["failed", "rolled_back", "refused", "invalid"]
_NOT_OK: Final[dict[str, ProblemKind]] = {"rolled_back": "rolled_back", "refused": "refused"}


@dataclass(frozen=True)
class Problem:
    """A swap that failed, or that is not what its label says."""

    kind: ProblemKind
    round: int
    warmup: bool
    scenario: str
    phase: str
    reason: str
    rollback_s: float | None


@dataclass(frozen=True)
class Findings:
    """A run, judged. Reports print this and compute nothing."""

    facts: RunFacts
    counts: Counts
    target_s: float
    scenarios: tuple[ScenarioSummary, ...]
    drift: Drift
    first_swaps: tuple[FirstSwaps, ...]
    outliers: tuple[Outlier, ...]
    memory: tuple[ScenarioMemory, ...]
    leaks: tuple[LeakFinding, ...]
    verdicts: tuple[CriterionVerdict, ...]
    problems: tuple[Problem, ...]
    clients: tuple[ClientsFelt, ...]
    sharing: tuple[Sharing, ...]
    failures: tuple[Failure, ...]
    symptoms: tuple[Symptom, ...]
    restores: tuple[Restores, ...]
    limits: tuple[AgainstLimit, ...]
    ladders: tuple[Ladder, ...]
    notes: tuple[str, ...]

    @property
    def unanswered_requests(self) -> int:
        """Of all clients."""
        return sum(felt.unanswered for felt in self.clients)


def analyse(run: Run, limits: Limits | None = None) -> Findings:
    """Judge a run as far as it has come; `limits` of its machine stand in where it has recorded none.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    whole = experiment_of(run)
    run, experiment = by_cell(run, whole)
    swaps = swaps_of(run)
    facts = facts_of(run, experiment, swaps)
    of = [(s, [swap for swap in swaps if swap.scenario == s.name]) for s in experiment.scenario]
    scenarios = tuple(summarise(s, its, experiment, facts.claims) for s, its in of)
    weights = {model.name: model.weight_bytes for model in run.info.models if model.weight_bytes}
    baseline = baseline_of(run.info)
    memory = tuple(memory_of(s.name, its, baseline, weights.get(s.from_model)) for s, its in of)
    # A script's loads move no bytes, a server's can't be told from the rest of its swap, a mini's are over
    # before any limit is felt, a published run's machine is not at hand.
    loads_models = facts.claims and facts.target == "inprocess" and not facts.transcribed_from
    known = (run.info.limits or limits) if loads_models else None
    drift = find_drift(swaps)
    leaks = find_leaks(swaps, experiment.leak_tolerance_bytes)
    compared = ladders(whole, swaps, weights, known)
    page_caches = {s.name: experiment.page_cache_of(s) for s in experiment.scenario}
    clients = (clients_felt(s.name, its, run.requests) for s, its in of)
    sharing = (sharing_of(s.name, its) for s, its in of)
    return Findings(
        facts=facts,
        counts=count(swaps),
        target_s=experiment.target_s,
        scenarios=scenarios,
        drift=drift,
        first_swaps=tuple(first_swaps(swaps)),
        outliers=find_outliers(swaps),
        memory=memory,
        leaks=leaks,
        verdicts=judge(Evidence(experiment, facts.claims, scenarios, memory, leaks, compared)),
        problems=tuple(_problems(swaps)),
        clients=tuple(felt for felt in clients if felt is not None),
        sharing=tuple(shared for shared in sharing if shared is not None),
        failures=failures_of(swaps),
        symptoms=find_symptoms(swaps, baseline, weights),
        restores=restores_of(swaps),
        limits=against_limits(scenarios, known, page_caches.__getitem__, experiment.target_s),
        ladders=compared,
        notes=(
            *_notes(swaps, scenarios, experiment),
            *reloads(run, whole),
            *drift_advice(drift),
            *([_PROBE_FIRST] if loads_models and known is None else []),
            *(f"{check.finding}: {check.advice}" for check in run.info.checks if check.advice),
            *run.info.notes,
        ),
    )


def _problems(swaps: Iterable[Swap]) -> Iterator[Problem]:
    for swap in swaps:
        where = (swap.round, swap.warmup, swap.scenario, swap.failed_phase)
        if swap.status != "ok":
            kind = _NOT_OK.get(swap.status, "failed")
            back_s = None if kind == "refused" else swap.figures.get("rollback_s")
            yield Problem(kind, *where, swap.error, back_s)
        elif not swap.valid:
            yield Problem("invalid", *where, swap.invalid_reason, None)
        elif swap.total_s is None and "to_first_token_s" not in swap.figures:
            yield Problem("invalid", *where, "its total was not recorded", None)


def _notes(
    swaps: Sequence[Swap], scenarios: Sequence[ScenarioSummary], experiment: Experiment
) -> Iterator[str]:
    """What a reader would get wrong without being told."""
    counted = [swap for swap in swaps if swap.counted]
    if not counted:
        return
    if all(scenario.headline_is == "total" for scenario in scenarios):
        yield "first token left out: the total is the headline, and what the first token costs is not known"
    if len({swap.round for swap in counted}) == 1:
        yield "one round: nothing is known about the spread"
    if all(swap.from_outside for swap in counted):
        yield _FROM_OUTSIDE
    if all(_was_idle(swap) for swap in counted):
        yield "no request was in flight and no cache was held: drain and evict had nothing to do"
    if disagree := sum(map(_phases_disagree, counted)):
        n = figures.counted(disagree, "swap")
        yield f"{n}: the phases and the unattributed time do not add up to the total"
    growth = max(swap.swap_used_growth_bytes or 0.0 for swap in counted)
    if growth > _SWAP_USED_GROWTH_BYTES:
        yield f"up to {figures.memory(growth)} went to the machine's swap during a swap: memory is too short"
    # Of dozens of cells the worst speaks for all.
    yield from list(_in_no_phase(scenarios))[: 1 if len(experiment.strategy) > 1 else None]
    for scenario in scenarios:
        its = [swap for swap in counted if swap.scenario == scenario.name]
        lost = sum(swap.total_s is None for swap in its)
        if lost and scenario.headline_is == "to_first_token":
            # The median of those that have one would be of the slower ones alone.
            yield (
                f"{scenario.name}: {lost} of {figures.counted(len(its), 'swap')} took no longer than the "
                "same request hot, so no total is told"
            )
        against, waited, target_s = scenario.against_target, scenario.to_first_token, experiment.target_s
        if against and against.side == "under" and waited and waited.point >= target_s:
            yield (
                f"{scenario.name}: the swap stays under {target_s:g} s, but its first token comes after "
                f"{figures.seconds(waited.point)}"
            )


def _in_no_phase(scenarios: Iterable[ScenarioSummary]) -> Iterator[str]:
    """Where phases leave much unexplained, the worst first."""
    for scenario in sorted(scenarios, key=lambda s: s.unattributed.share or 0.0, reverse=True):
        rest = scenario.unattributed
        if rest.share is None or rest.share <= _UNATTRIBUTED_SHARE:
            continue
        observer = f", {figures.seconds(rest.probe_s.point)} of it swapbench's own" if rest.probe_s else ""
        if rest.settled_s and rest.settled_s.point:
            waited = figures.seconds(rest.settled_s.point)
            observer += f", which waited {waited} for memory to settle (settle_after_unload)"
        spent = f" ({figures.seconds(rest.seconds.point)}{observer})" if rest.seconds else ""
        yield f"{scenario.name}: {rest.share:.1%} of the swap is in no phase{spent}"


def _was_idle(swap: Swap) -> bool:
    """Only where the workload was recorded, and was nothing."""
    work = [swap.figures.get(name) for name in ("drained_requests", "carried_requests", "evicted_caches")]
    return any(value is not None for value in work) and not any(work)


def _phases_disagree(swap: Swap) -> bool:
    unattributed = swap.figures.get("unattributed_s")
    if unattributed is None or swap.total_s is None or not swap.phases or swap.from_outside:
        return False
    return abs(swap.total_s - swap.attributed_s - unattributed) > _SUM_TOLERANCE_S


def exit_code(findings: Findings, strict: bool = False) -> Exit:
    """The gravest thing found. What is merely inconclusive or invalid counts only when `strict`; what is not
    judged never does: it was no question of this run."""
    counts, status = findings.counts, findings.facts.status
    failed = {verdict.kind for verdict in findings.verdicts if verdict.outcome is CriterionOutcome.FAIL}
    undecided = any(v.declared and v.outcome is CriterionOutcome.INCONCLUSIVE for v in findings.verdicts)
    if counts.failed or counts.rolled_back or counts.refused or status == "incomplete":
        return Exit.FAILED
    if findings.unanswered_requests:
        return Exit.FAILED
    if failed & {CriterionKind.NO_LEAK, CriterionKind.MEMORY_RECLAIMED}:
        return Exit.LEAK
    if failed:
        return Exit.TARGET_MISSED
    doubtful = undecided or findings.symptoms or counts.invalid or status != "complete"
    return Exit.INCONCLUSIVE if strict and doubtful else Exit.OK


Grade = Literal["good", "bad", "doubt"]

GRADES: Final[dict[Exit, Grade]] = {
    Exit.FAILED: "bad",
    Exit.REGRESSION: "bad",
    Exit.LEAK: "bad",
    Exit.TARGET_MISSED: "bad",
    Exit.INCONCLUSIVE: "doubt",
    Exit.OK: "good",
}


@dataclass(frozen=True)
class Overall:
    """How a run came out, in one line; `because` are the reasons of what is not good."""

    grade: Grade
    text: str
    because: tuple[str, ...] = ()


def outcome(findings: Findings) -> Exit:
    """As the strict exit code says it; where nothing is demanded, what all are held to has to be settled."""
    code = exit_code(findings, strict=True)
    demanded = any(verdict.declared for verdict in findings.verdicts)
    settled = not any(verdict.outcome is CriterionOutcome.INCONCLUSIVE for verdict in findings.verdicts)
    return Exit.INCONCLUSIVE if code is Exit.OK and not demanded and not settled else code


def overall(findings: Findings) -> Overall:
    """The gravest thing found, in words, in the order of `exit_code`; and why, where it is not good."""
    text, because = _gravest(findings) or _in_doubt(findings) or _met(findings)
    return Overall(GRADES[outcome(findings)], text, because)


_Found = tuple[str, tuple[str, ...]]


def _gravest(findings: Findings) -> _Found | None:
    """What fails a run; None where nothing does."""
    counts, facts = findings.counts, findings.facts
    missed = tuple(f"{v.title}: {v.reason}" for v in findings.verdicts if v.outcome is CriterionOutcome.FAIL)
    numbers = {"failed": counts.failed, "rolled back": counts.rolled_back, "refused": counts.refused}
    lost = [(how, number) for how, number in numbers.items() if number]
    if lost:
        first = f"{figures.counted(lost[0][1], 'swap')} {lost[0][0]}"
        return ", ".join((first, *(f"{number} {how}" for how, number in lost[1:]))), missed
    if facts.status == "incomplete":
        return "The run is not complete", (facts.incomplete,)
    if findings.unanswered_requests:
        return f"{figures.counted(findings.unanswered_requests, 'request')} never answered", missed
    if missed:
        return "1 criterion not met" if len(missed) == 1 else f"{len(missed)} criteria not met", missed
    return None if facts.status == "complete" else ("The run is not complete", (facts.incomplete,))


def _in_doubt(findings: Findings) -> _Found | None:
    """What keeps a run in which nothing failed from being good; None where nothing does."""
    if not findings.counts.counted:
        return "No swap counts", ()
    symptoms = tuple(symptom.text for symptom in findings.symptoms)
    if symptoms:
        return f"{figures.counted(len(symptoms), 'symptom')} of known faults", symptoms
    declared = [verdict for verdict in findings.verdicts if verdict.declared]
    if not declared:
        return "Every swap succeeded; no criterion was declared", _reasons(_open(findings.verdicts))
    if any(verdict.outcome is CriterionOutcome.INCONCLUSIVE for verdict in declared):
        return _so_many(declared), _reasons(_open(declared))
    if findings.counts.invalid:
        return f"{figures.counted(findings.counts.invalid, 'swap')} left out as invalid", ()
    return None


def _met(findings: Findings) -> _Found:
    """Of a run that is good, what was asked of it; and what of that which every run is held to is open."""
    declared = [verdict for verdict in findings.verdicts if verdict.declared]
    open_ = _open(findings.verdicts)
    if not open_:
        return "Every criterion is met", ()
    unjudged = [verdict for verdict in declared if verdict.outcome is CriterionOutcome.NOT_JUDGED]
    text = "Every declared criterion is met"
    if len(unjudged) == len(declared):
        text = "Every swap succeeded; no criterion was judged"
    elif unjudged:
        text = _so_many(declared)
    undecided = [verdict.title for verdict in open_ if verdict.outcome is CriterionOutcome.INCONCLUSIVE]
    return text + "".join(f"; undeclared and undecided: {title}" for title in undecided), _reasons(open_)


def _open(verdicts: Sequence[CriterionVerdict]) -> list[CriterionVerdict]:
    return [verdict for verdict in verdicts if verdict.outcome is not CriterionOutcome.PASS]


def _so_many(declared: Sequence[CriterionVerdict]) -> str:
    """`1 of 2 criteria met, 1 not judged`."""
    open_ = Counter(str(verdict.outcome) for verdict in _open(declared))
    rest = ", ".join(f"{n} {outcome}" for outcome, n in open_.items())
    return f"{len(declared) - open_.total()} of {len(declared)} criteria met, {rest}"


def _reasons(open_: Sequence[CriterionVerdict]) -> tuple[str, ...]:
    """What is true of all is said once."""
    reasons = {verdict.reason for verdict in open_}
    if len(reasons) == 1 < len(open_):
        return tuple(reasons)
    return tuple(f"{verdict.title}: {verdict.reason}" for verdict in open_)

"""Whether a change may pass: one figure per scenario, leaks, and swaps that failed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import geometric_mean
from typing import Final

from swapbench.base.errors import Exit
from swapbench.base.figures import counted, ratio_change, share_change
from swapbench.base.phases import HeadlineFigure
from swapbench.compare.change import FEWEST, Change, Verdict
from swapbench.compare.comparison import Comparison, ScenarioComparison, compare_arms
from swapbench.compare.fingerprint import Difference, fingerprint, of_cell, unlike
from swapbench.compare.history import History, Point
from swapbench.findings.memory import JUDGED, LeakFinding, find_leaks
from swapbench.findings.runs import RunFacts, arms_of, facts_of
from swapbench.findings.summary import headline
from swapbench.findings.swaps import swaps_of
from swapbench.stats.estimate import Estimate, estimate
from swapbench.stats.ranks import CONFIDENCE, Shift, holm
from swapbench.stats.trend import FEWEST_RUNS, Prediction, predict
from swapbench.store import Run, experiment_of


class GateOutcome(StrEnum):
    """What becomes of a scenario, a ledger, the whole."""

    NOT_JUDGED = "not judged"
    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    NOT_CONFIRMED = "not confirmed"
    LEAK = "leak"
    REGRESSION = "regression"
    FAILED = "failed"


# From fine to grave: the whole is as grave as its gravest part.
_GRAVITY: Final = tuple(GateOutcome)

_EXITS: Final = {
    GateOutcome.PASS: Exit.OK,
    GateOutcome.LEAK: Exit.LEAK,
    GateOutcome.REGRESSION: Exit.REGRESSION,
    GateOutcome.FAILED: Exit.FAILED,
}


@dataclass(frozen=True)
class GatedScenario:
    """The figure that decides, in one scenario. `confirmation` is what a second measurement says of it."""

    scenario: str
    figure: HeadlineFigure
    change: Change
    confirmation: Change | None
    detectable: float | None
    outcome: GateOutcome
    reason: str


@dataclass(frozen=True)
class GatedLedger:
    """One ledger's growth per swap in the soak; of the base too, where the change seems to leak."""

    ledger: str
    leak: LeakFinding
    base: LeakFinding | None
    outcome: GateOutcome
    reason: str


@dataclass(frozen=True)
class FailedSwap:
    """A swap that failed while the gate measured; or, without round and scenario, a run that broke off."""

    side: str
    round: int | None
    scenario: str
    reason: str


@dataclass(frozen=True)
class Gate:
    """The gate's judgement. `against` is what the change was measured against; `runs` where the rows are."""

    experiment: str
    title: str
    change: str
    against: str
    margin: float
    outcome: GateOutcome
    facts: RunFacts
    scenarios: tuple[GatedScenario, ...]
    ledgers: tuple[GatedLedger, ...]
    failures: tuple[FailedSwap, ...]
    comparison: Comparison | None
    confirmation: Comparison | None
    runs: tuple[str, ...]
    command: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Soak:
    """Runs of many swaps in one process: of the change, and of the base where the change seems to leak."""

    change: Run
    base: Run | None = None


def exit_code(gate: Gate, *, fail_inconclusive: bool = False) -> Exit:
    """The exit code that the outcome means."""
    return _EXITS.get(gate.outcome, Exit.INCONCLUSIVE if fail_inconclusive else Exit.OK)


def seems_to_leak(soak: Run) -> bool:
    """Whether there is a leak in some ledger, so that it is worth knowing whether the base has it too."""
    return any(leak.outcome == "leak" for leak in _leaks(soak))


def judge_pairs(
    first: Run, second: Run | None, soak: Soak | None, margin: float | None, notes: Sequence[str] = ()
) -> Gate:
    """Judge a change by a run of two arms: A is the base, B the change.

    Args:
        second: another such run, measured because the first showed a regression.
        margin: the experiment's own when None.
    """
    compared = compare_arms(first, margin)
    confirmed = None if second is None else compare_arms(second, margin)
    again = () if confirmed is None else confirmed.scenarios
    return _gate(
        first,
        second,
        soak,
        _scenarios(compared.scenarios, again, compared.margin, FEWEST, "pair"),
        compared.margin,
        change=compared.b.label,
        against=compared.a.label,
        comparison=compared,
        confirmation=confirmed,
        notes=(*notes, *compared.notes),
    )


def judge_history(
    first: Run, second: Run | None, soak: Soak | None, margin: float | None, name: str, history: History
) -> Gate:
    """Judge a run by the runs of its kind that a baseline keeps: those of the same fingerprint."""
    margin = experiment_of(first).gate.margin if margin is None else margin
    own = {run.info.run_id for run in (first, second) if run is not None}
    kept = [point for point in history.points if point.run_id not in own]
    alike, others = _alike(first, kept)
    again = () if second is None else _against_history(second, alike, margin)
    runs = {point.run_id for points in alike.values() for point in points}
    return _gate(
        first,
        second,
        soak,
        _scenarios(_against_history(first, alike, margin), again, margin, FEWEST_RUNS, "run"),
        margin,
        change="this run",
        against=f'baseline "{name}": {counted(len(runs), "run")} alike, of {len({p.run_id for p in kept})}',
        notes=(
            "a stored history knows no machine as it is today: what is slower may be the day; "
            "`swapbench gate --base` measures both now",
            *others,
        ),
    )


def _alike(run: Run, kept: Sequence[Point]) -> tuple[dict[str, list[Point]], list[str]]:
    """The points that each scenario can be judged by; and in what the latest that it can't differs."""
    experiment = experiment_of(run)
    alike, others = {}, []
    for scenario in experiment.scenario:
        points = [point for point in kept if point.scenario == scenario.name]
        own = {
            strategy: fingerprint(run.info, of_cell(experiment, scenario.name, strategy))
            for strategy in experiment.strategy
        }
        prints = [tuple(sorted(aspects.items())) for aspects in own.values()]
        alike[scenario.name] = [point for point in points if point.fingerprint in prints]
        rest = [point for point in points if point.fingerprint not in prints]
        if rest:
            latest = rest[-1]
            differing = unlike(dict(latest.fingerprint), own.get(latest.strategy, next(iter(own.values()))))
            told = [Difference(what, *sides, decisive=True).describe() for what, sides in differing.items()]
            others.append(
                f"{scenario.name}: {counted(len(rest), 'kept run')} can't be compared; the latest of them, "
                f"{latest.run_id}, differs in {'; '.join(told)}"
            )
    return alike, others


def _against_history(
    run: Run, alike: Mapping[str, Sequence[Point]], margin: float
) -> tuple[ScenarioComparison, ...]:
    """Every scenario of a run by the points that it can be judged by; all are held to one level (Holm)."""
    swaps = [swap for swap in swaps_of(run) if swap.counted]
    found = []
    for name, points in alike.items():
        value, figure = headline([swap for swap in swaps if swap.scenario == name])
        past = [point.seconds for point in points if point.setting.figure == figure]
        expected = predict(past, value.point, margin) if value is not None and value.point > 0 else None
        found.append((name, figure, value, past, expected))
    adjusted = iter(holm([expected.p for *_, expected in found if expected is not None]))
    return tuple(
        ScenarioComparison(
            scenario=name,
            figure=figure,
            headline=_change(figure, value, past, expected, next(adjusted) if expected else None, margin),
            phases=(),
            memory=(),
            detectable=expected.detectable if expected else None,
        )
        for name, figure, value, past, expected in found
    )


def _change(
    figure: HeadlineFigure,
    value: Estimate | None,
    past: Sequence[float],
    expected: Prediction | None,
    p: float | None,
    margin: float,
) -> Change:
    ratio, verdict = None, Verdict.INCONCLUSIVE
    if value is None:
        verdict = Verdict.NOT_MEASURED
    elif expected is not None and p is not None:
        point, low, high = (value.point / by for by in (expected.centre, expected.high, expected.low))
        ratio = Shift(point, low, high, expected.runs)
        if p <= 1 - CONFIDENCE:
            verdict = Verdict.SLOWER
        elif ratio.high <= 1 + margin:
            verdict = Verdict.NO_WORSE
    elif past:
        ratio = Shift(value.point / geometric_mean(past), 0.0, math.inf, len(past))
    most = ratio.high - 1 if expected is not None and ratio is not None else None
    return Change(figure, "s", estimate(past), value, ratio, verdict, most, p)


def _scenarios(
    found: Sequence[ScenarioComparison],
    again: Sequence[ScenarioComparison],
    margin: float,
    fewest: int,
    what: str,
) -> tuple[GatedScenario, ...]:
    """Each scenario by what was found, and found again where it looked slower; `fewest` of `what` can say."""
    confirmations = {s.scenario: s.headline for s in again}
    gated = []
    for s in found:
        change, confirmation = s.headline, confirmations.get(s.scenario)
        reason = _reason(change, margin, fewest, what)
        outcome = GateOutcome.INCONCLUSIVE
        if change.verdict is Verdict.SLOWER:
            slower = confirmation is None or confirmation.verdict is Verdict.SLOWER
            outcome = GateOutcome.REGRESSION if slower else GateOutcome.NOT_CONFIRMED
            if confirmation is not None:
                reason += f"; measured again: {_reason(confirmation, margin, fewest, what)}"
        elif change.verdict in (Verdict.FASTER, Verdict.NO_WORSE):
            outcome = GateOutcome.PASS
        gated.append(GatedScenario(s.scenario, s.figure, change, confirmation, s.detectable, outcome, reason))
    return tuple(gated)


def _reason(change: Change, margin: float, fewest: int, what: str) -> str:
    """The verdict as a sentence."""
    if change.b is None:
        return "no swap of the change counts"
    n = 0 if change.ratio is None else change.ratio.n
    if change.ratio is None or n < fewest:
        return f"{counted(n, what)} to judge by, {fewest} wanted"
    by = f"with 95 % confidence; {counted(n, what)}, margin {share_change(margin)}"
    found, low = ratio_change(change.ratio.point), ratio_change(change.ratio.low)
    if change.verdict is Verdict.SLOWER:
        return f"slower: {found}, at least {low} {by}"
    if change.verdict is Verdict.INCONCLUSIVE and change.ratio.low > 1 + margin:
        return f"{found}, at least {low} {by}; but of several scenarios one may look so by chance"
    return f"{found}, no worse than {ratio_change(change.ratio.high)} {by}"


def _gate(
    first: Run,
    second: Run | None,
    soak: Soak | None,
    scenarios: tuple[GatedScenario, ...],
    margin: float,
    *,
    change: str,
    against: str,
    comparison: Comparison | None = None,
    confirmation: Comparison | None = None,
    notes: tuple[str, ...],
) -> Gate:
    experiment = experiment_of(first)
    sides: list[tuple[Run | None, str]] = [(first, ""), (second, "")]
    if soak is not None:
        sides += [(soak.change, "soak"), (soak.base, "soak of the base")]
    measured = [(run, side) for run, side in sides if run is not None]
    ledgers = tuple(_ledgers(soak)) if soak else ()
    failures = tuple(failure for run, side in measured for failure in _failures(run, side))
    outcomes = [s.outcome for s in scenarios] or [GateOutcome.INCONCLUSIVE]
    outcomes += [ledger.outcome for ledger in ledgers]
    outcomes += [GateOutcome.FAILED] * bool(failures)
    return Gate(
        experiment=first.info.experiment_name,
        title=experiment.title or first.info.experiment_name,
        change=change,
        against=against,
        margin=margin,
        outcome=max(outcomes, key=_GRAVITY.index),
        facts=facts_of(first, experiment, swaps_of(first)),
        scenarios=scenarios,
        ledgers=ledgers,
        failures=failures,
        comparison=comparison,
        confirmation=confirmation,
        runs=tuple(str(run.folder) for run, _ in measured),
        command=first.info.command,
        notes=notes,
    )


def _leaks(run: Run) -> tuple[LeakFinding, ...]:
    experiment = experiment_of(run)
    own = experiment.gate.tolerance_bytes
    tolerance = experiment.leak_tolerance_bytes if own is None else own
    judged = [leak for leak in find_leaks(swaps_of(run), tolerance) if leak.ledger in JUDGED]
    # Of a server, MLX's own ledgers can't be seen: what was never measured must not leave all undecided.
    return tuple([leak for leak in judged if leak.outcome != "not measurable"] or judged)


def _ledgers(soak: Soak) -> Iterator[GatedLedger]:
    """What leaks as it always did is no reason to refuse a change, but has to be said."""
    bases = {leak.ledger: leak for leak in _leaks(soak.base)} if soak.base else {}
    for leak in _leaks(soak.change):
        base = bases.get(leak.ledger)
        beside = "" if base is None else f"; the base: {base.reason}"
        outcome, reason = GateOutcome.INCONCLUSIVE, leak.reason
        if leak.outcome == "clean":
            outcome, reason = GateOutcome.PASS, f"clean: {leak.reason}"
        elif leak.outcome == "not judged":
            outcome = GateOutcome.NOT_JUDGED
        elif leak.outcome == "leak":
            outcome, says = GateOutcome.LEAK, "leaks"
            if base is not None and base.outcome == "leak" and base.slope and leak.slope:
                as_ever = leak.slope.low <= base.slope.high
                outcome = GateOutcome.INCONCLUSIVE if as_ever else GateOutcome.LEAK
                says = "leaks, as the base does" if as_ever else "leaks more than the base"
            reason = f"{says}: {leak.reason}{beside}"
        yield GatedLedger(leak.ledger, leak, base, outcome, reason)


def _failures(run: Run, side: str) -> Iterator[FailedSwap]:
    labels = [arm.label for arm in run.info.arms] or [side]
    for label, alone in zip(labels, arms_of(run), strict=True):
        for swap in swaps_of(alone):
            if swap.status != "ok":
                yield FailedSwap(label, swap.round, swap.scenario, swap.error)
    if run.info.status == "incomplete":
        yield FailedSwap(side, None, "", f"the run broke off: {run.info.failure}")

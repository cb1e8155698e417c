"""Whether a change may pass: one figure per scenario, leaks, and swaps that failed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from swapbench.analysis.arms import arms_of
from swapbench.analysis.cells import by_cell
from swapbench.analysis.change import FEWEST, Change, Verdict
from swapbench.analysis.comparison import Comparison, compare_arms
from swapbench.analysis.estimate import Estimate, estimate
from swapbench.analysis.facts import RunFacts, facts_of
from swapbench.analysis.figures import counted, ratio_change, share_change
from swapbench.analysis.headline import HeadlineFigure
from swapbench.analysis.keeping import kept_run
from swapbench.analysis.leak import JUDGED, LeakFinding, find_leaks
from swapbench.analysis.prediction import FEWEST_RUNS, Prediction, predict
from swapbench.analysis.ranks import CONFIDENCE, Shift, holm
from swapbench.analysis.swaps import Swap, swaps_of
from swapbench.baselines import KeptRun, KeptScenario
from swapbench.errors import Exit
from swapbench.phases import LEDGER_LABELS
from swapbench.results import Run, experiment_of


class GateOutcome(StrEnum):
    """What becomes of a scenario, a ledger, the whole."""

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
    """A swap that failed while the gate measured."""

    side: str
    round: int
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
    scenarios = tuple(
        _scenario(
            s.scenario, s.figure, s.headline, _found(confirmed, s.scenario), s.detectable, compared.margin
        )
        for s in compared.scenarios
    )
    return _gate(
        first,
        [first, *([second] if second else [])],
        soak,
        scenarios,
        compared.margin,
        change=compared.b.label,
        against=compared.a.label,
        comparison=compared,
        confirmation=confirmed,
        notes=(*notes, *compared.notes),
    )


def judge_history(
    first: Run,
    second: Run | None,
    soak: Soak | None,
    margin: float | None,
    name: str,
    history: Sequence[KeptRun],
) -> Gate:
    """Judge a run by the runs of the same fingerprint that a baseline keeps."""
    margin = experiment_of(first).gate.margin if margin is None else margin
    entry, _ = kept_run(first)
    alike = [kept for kept in history if kept.fingerprint == entry.fingerprint]
    changes = _predicted(first, alike, margin)
    confirmed = {} if second is None else _predicted(second, alike, margin)
    scenarios = tuple(
        _scenario(
            scenario,
            kept.figure,
            change,
            confirmed[scenario][0] if scenario in confirmed else None,
            detectable,
            margin,
            fewest=FEWEST_RUNS,
            what="run",
        )
        for scenario, (change, detectable, kept) in changes.items()
    )
    return _gate(
        first,
        [first, *([second] if second else [])],
        soak,
        scenarios,
        margin,
        change="this run",
        against=f'baseline "{name}": {counted(len(alike), "run")} of fingerprint {entry.fingerprint}',
        notes=(
            "a stored history knows no machine as it is today: what is slower may be the day; "
            "`swapbench gate --base` measures both now",
        ),
    )


def _gate(
    first: Run,
    measured: Sequence[Run],
    soak: Soak | None,
    scenarios: tuple[GatedScenario, ...],
    margin: float,
    *,
    change: str,
    against: str,
    comparison: Comparison | None = None,
    confirmation: Comparison | None = None,
    notes: tuple[str, ...] = (),
) -> Gate:
    experiment = experiment_of(first)
    soaked = [run for run in (soak.change, soak.base) if run is not None] if soak else []
    ledgers = tuple(_ledgers(soak)) if soak else ()
    failures = tuple(failure for run in (*measured, *soaked) for failure in _failures(run))
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
        runs=tuple(str(run.folder) for run in (*measured, *soaked)),
        command=first.info.command,
        notes=notes,
    )


def _found(comparison: Comparison | None, scenario: str) -> Change | None:
    if comparison is None:
        return None
    return next((s.headline for s in comparison.scenarios if s.scenario == scenario), None)


def _scenario(
    scenario: str,
    figure: HeadlineFigure,
    change: Change,
    confirmation: Change | None,
    detectable: float | None,
    margin: float,
    *,
    fewest: int = FEWEST,
    what: str = "pair",
) -> GatedScenario:
    outcome = _outcome(change, confirmation)
    reason = _reason(change, margin, fewest, what)
    if confirmation is not None and change.verdict is Verdict.SLOWER:
        reason += f"; measured again: {_reason(confirmation, margin, fewest, what)}"
    return GatedScenario(scenario, figure, change, confirmation, detectable, outcome, reason)


def _outcome(change: Change, confirmation: Change | None) -> GateOutcome:
    if change.verdict is Verdict.SLOWER:
        again = confirmation is None or confirmation.verdict is Verdict.SLOWER
        return GateOutcome.REGRESSION if again else GateOutcome.NOT_CONFIRMED
    passes = change.verdict in (Verdict.FASTER, Verdict.NO_WORSE)
    return GateOutcome.PASS if passes else GateOutcome.INCONCLUSIVE


def _reason(change: Change, margin: float, fewest: int, what: str) -> str:
    """The verdict as a sentence."""
    n = 0 if change.ratio is None else change.ratio.n
    if change.ratio is None or n < fewest:
        return f"{counted(n, what)} to judge by, {fewest} wanted"
    by = f"with 95 % confidence; {counted(n, what)}, margin {share_change(margin)}"
    found = ratio_change(change.ratio.point)
    if change.verdict is Verdict.SLOWER:
        return f"slower by {found}, at least {ratio_change(change.ratio.low)} {by}"
    return f"{found}, no worse than {ratio_change(change.ratio.high)} {by}"


def _predicted(
    run: Run, history: Sequence[KeptRun], margin: float
) -> dict[str, tuple[Change, float | None, KeptScenario]]:
    """Each scenario of a run against what its history lets expect."""
    entry, _ = kept_run(run)
    past = {
        name: [
            kept.scenarios[name].seconds
            for kept in history
            if name in kept.scenarios
            and kept.scenarios[name].figure == scenario.figure
            and kept.run_id != entry.run_id
        ]
        for name, scenario in entry.scenarios.items()
    }
    predictions = {
        name: predict(past[name], scenario.seconds, margin) for name, scenario in entry.scenarios.items()
    }
    known = [name for name, prediction in predictions.items() if prediction is not None]
    adjusted = dict(zip(known, holm([p.p for p in predictions.values() if p is not None]), strict=True))
    swaps = swaps_of(by_cell(run, experiment_of(run))[0])
    return {
        name: (
            _against_history(
                scenario, past[name], predictions[name], adjusted.get(name), margin, swaps, name
            ),
            None if (prediction := predictions[name]) is None else prediction.detectable,
            scenario,
        )
        for name, scenario in entry.scenarios.items()
    }


def _against_history(
    scenario: KeptScenario,
    past: Sequence[float],
    prediction: Prediction | None,
    p: float | None,
    margin: float,
    swaps: Sequence[Swap],
    name: str,
) -> Change:
    ratio = _times_predicted(scenario.seconds, past, prediction)
    slower = p is not None and p <= 1 - CONFIDENCE
    verdict = Verdict.INCONCLUSIVE
    if ratio is not None and prediction is not None:
        if slower:
            verdict = Verdict.SLOWER
        elif ratio.high <= 1 + margin:
            verdict = Verdict.NO_WORSE
    return Change(
        figure=scenario.figure,
        unit="s",
        a=estimate(past),
        b=_measured(swaps, name, scenario.figure),
        ratio=ratio,
        verdict=verdict,
        most=None if prediction is None or ratio is None else ratio.high - 1,
        p=p,
    )


def _times_predicted(seconds: float, past: Sequence[float], prediction: Prediction | None) -> Shift | None:
    if prediction is not None:
        return Shift(
            seconds / prediction.centre,
            seconds / prediction.high,
            seconds / prediction.low,
            prediction.runs,
        )
    if not past:
        return None
    centre = math.exp(sum(map(math.log, past)) / len(past))
    return Shift(seconds / centre, 0.0, math.inf, len(past))


def _measured(swaps: Sequence[Swap], scenario: str, figure: str) -> Estimate | None:
    counted_swaps = [swap for swap in swaps if swap.counted and swap.scenario == scenario]
    return estimate(swap.figures.get(f"{figure}_s") for swap in counted_swaps)


def _leaks(run: Run) -> tuple[LeakFinding, ...]:
    experiment = experiment_of(run)
    own = experiment.gate.tolerance_bytes
    tolerance = experiment.leak_tolerance_bytes if own is None else own
    return tuple(leak for leak in find_leaks(swaps_of(run), tolerance) if leak.ledger in JUDGED)


def _ledgers(soak: Soak) -> Iterator[GatedLedger]:
    base = {leak.ledger: leak for leak in _leaks(soak.base)} if soak.base else {}
    for leak in _leaks(soak.change):
        theirs = base.get(leak.ledger)
        outcome, reason = _leak_outcome(leak, theirs)
        yield GatedLedger(leak.ledger, leak, theirs, outcome, f"{LEDGER_LABELS[leak.ledger]}: {reason}")


def _leak_outcome(leak: LeakFinding, base: LeakFinding | None) -> tuple[GateOutcome, str]:
    """What leaks as it always did is no reason to refuse a change, but has to be said."""
    if leak.outcome == "clean":
        return GateOutcome.PASS, f"clean: {leak.reason}"
    if leak.outcome != "leak":
        return GateOutcome.INCONCLUSIVE, leak.reason
    if base is not None and base.outcome == "leak" and base.slope and leak.slope:
        if leak.slope.low <= base.slope.high:
            return (
                GateOutcome.INCONCLUSIVE,
                f"leaks, as the base does: {leak.reason}; the base: {base.reason}",
            )
        return GateOutcome.LEAK, f"leaks more than the base: {leak.reason}; the base: {base.reason}"
    return GateOutcome.LEAK, f"leaks: {leak.reason}" + ("" if base is None else f"; the base: {base.reason}")


def _failures(run: Run) -> Iterator[FailedSwap]:
    labels = [arm.label for arm in run.info.arms] or [""]
    for label, alone in zip(labels, arms_of(run), strict=True):
        for swap in swaps_of(alone):
            if swap.status != "ok":
                yield FailedSwap(label, swap.round, swap.scenario, swap.error)
    if run.info.status == "incomplete":
        yield FailedSwap("", 0, "", f"the run broke off: {run.info.failure}")

"""Runs side by side: what changed from A to B, by how much, and how sure that is."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import stdev
from typing import Final

from swapbench.base.errors import Exit
from swapbench.base.figures import counted as counted_words
from swapbench.base.phases import PHASES, HeadlineFigure
from swapbench.compare.change import FEWEST, ByRound, Change, Unit, Verdict, paired_change, unpaired_change
from swapbench.compare.fingerprint import Difference, differences
from swapbench.findings.memory import LeakFinding, find_leaks
from swapbench.findings.runs import arm_of, by_cell, facts_of, reloads
from swapbench.findings.summary import Counts, count
from swapbench.findings.swaps import Swap, headline_figure, swaps_of
from swapbench.stats.estimate import estimate
from swapbench.stats.ranks import CONFIDENCE, holm
from swapbench.store import Run, RunStatus, experiment_of

# A phase that takes less than this share of either swap can double and nobody will feel it.
_NEGLIGIBLE_SHARE: Final = 0.01

# Normal quantiles of 95 % and 80 %: an alarm where there is none, and a change that is found.
_Z: Final = 1.6449 + 0.8416

_APART: Final = (
    "separate runs: whatever the machine did otherwise meanwhile is in the ratios, and no interval knows of "
    "it; `swapbench ab` measures both in turn"
)


@dataclass(frozen=True)
class Side:
    """A run that is compared, under the name that it has in the report."""

    label: str
    run: Run


@dataclass(frozen=True)
class SideFacts:
    """What a side is."""

    label: str
    run_id: str
    folder: str
    experiment: str
    started_at: datetime
    status: RunStatus
    machine: str
    sources: tuple[str, ...]
    source_says: str
    versions: Mapping[str, str]
    counts: Counts


@dataclass(frozen=True)
class ScenarioComparison:
    """One scenario in two runs. `detectable` is the least change, as a share, that n swaps as scattered as
    these would find in four of five cases; None where they are too few."""

    scenario: str
    figure: HeadlineFigure
    headline: Change
    phases: tuple[Change, ...]
    memory: tuple[Change, ...]
    detectable: float | None


@dataclass(frozen=True)
class LeakComparison:
    """What a ledger does in either run."""

    ledger: str
    a: LeakFinding
    b: LeakFinding


@dataclass(frozen=True)
class Comparison:
    """B against A. `paired` where both ran in turn within one run; `same` where they are the same thing."""

    experiment: str
    title: str
    a: SideFacts
    b: SideFacts
    paired: bool
    pair_order: str
    turns: str
    same: bool
    margin: float
    comparable: bool
    differences: tuple[Difference, ...]
    scenarios: tuple[ScenarioComparison, ...]
    leaks: tuple[LeakComparison, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[str, ...]:
        """Scenarios whose headline is slower beyond the margin, with all of them taken into account."""
        return tuple(s.scenario for s in self.scenarios if s.headline.verdict is Verdict.SLOWER)

    @property
    def failed_swaps(self) -> int:
        """Swaps of either side that failed."""
        return sum(c.failed + c.rolled_back + c.refused for c in (self.a.counts, self.b.counts))

    @property
    def broken(self) -> bool:
        """Whether the one run of both sides had a swap that failed, or broke off."""
        return self.paired and (self.failed_swaps > 0 or self.a.status == "incomplete")


def compare_arms(run: Run, margin: float | None = None, other: int = 1) -> Comparison:
    """The first arm of a run and another one, within its rounds.

    Args:
        margin: of a regression; the experiment's own when None.
        other: which arm, where there are more than two.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    first, second = run.info.arms[0], run.info.arms[other]
    a, b = (Side(arm.label, arm_of(run, arm.name)) for arm in (first, second))
    turns = {row["turn"]: row["arm"] for row in run.swaps}
    return replace(
        _compare(a, b, margin, paired_change),
        pair_order=run.info.pair_order,
        turns="".join(turns[turn] for turn in sorted(turns)),
        same=(first.python, first.experiment) == (second.python, second.experiment),
    )


def compare_runs(a: Side, b: Side, margin: float | None = None) -> Comparison:
    """Two runs of whatever times. Without verdicts where they can't be compared; `differences` says why.

    Raises:
        ResultsError: as `compare_arms`.
    """
    return _compare(a, b, margin, unpaired_change)


_Judge = Callable[[str, ByRound, ByRound, float, Unit], Change]


def _compare(a: Side, b: Side, margin: float | None, judge: _Judge) -> Comparison:
    experiment = experiment_of(a.run)
    margin = experiment.gate.margin if margin is None else margin
    seen_a, seen_b = _seen(a), _seen(b)
    shared = [name for name in seen_a.by_scenario if name in seen_b.by_scenario]
    scenarios = [
        _scenario(name, seen_a.by_scenario[name], seen_b.by_scenario[name], margin, judge) for name in shared
    ]
    # Of several scenarios one will look slower sooner or later: Holm's adjustment allows for that.
    adjusted = iter(holm([s.headline.p for s in scenarios if s.headline.p is not None]))
    scenarios = [s if s.headline.p is None else _held(s, next(adjusted)) for s in scenarios]
    paired = judge is paired_change
    differing = differences(a.run, b.run)
    # What differs between arms was asked for; between runs, it decides.
    comparable = paired or not any(difference.decisive for difference in differing)
    theirs = {leak.ledger: leak for leak in seen_b.leaks}
    return Comparison(
        experiment=a.run.info.experiment_name,
        title=experiment.title or a.run.info.experiment_name,
        a=seen_a.facts,
        b=seen_b.facts,
        paired=paired,
        pair_order="",
        turns="",
        same=False,
        margin=margin,
        comparable=comparable,
        differences=differing,
        scenarios=tuple(scenarios if comparable else map(_unjudged, scenarios)),
        leaks=tuple(
            LeakComparison(leak.ledger, leak, theirs[leak.ledger])
            for leak in seen_a.leaks
            if leak.ledger in theirs
        ),
        notes=(*_notes(seen_a, seen_b, shared, scenarios, paired), *reloads(b.run, experiment_of(b.run))),
    )


def _held(scenario: ScenarioComparison, p: float) -> ScenarioComparison:
    doubtful = scenario.headline.verdict is Verdict.SLOWER and p > 1 - CONFIDENCE
    verdict = Verdict.INCONCLUSIVE if doubtful else scenario.headline.verdict
    return replace(scenario, headline=replace(scenario.headline, p=p, verdict=verdict))


def _unjudged(scenario: ScenarioComparison) -> ScenarioComparison:
    return replace(
        scenario,
        headline=_as(scenario.headline, Verdict.NOT_COMPARABLE),
        phases=tuple(_as(change, Verdict.NOT_COMPARABLE) for change in scenario.phases),
        memory=tuple(_as(change, Verdict.NOT_COMPARABLE) for change in scenario.memory),
        detectable=None,
    )


@dataclass(frozen=True)
class _Seen:
    """A side, read: its swaps by scenario (by scenario and strategy, where there are several)."""

    facts: SideFacts
    by_scenario: Mapping[str, Sequence[Swap]]
    leaks: tuple[LeakFinding, ...]
    notes: tuple[str, ...]


def _seen(side: Side) -> _Seen:
    run, experiment = by_cell(side.run, experiment_of(side.run))
    swaps = swaps_of(run)
    facts = facts_of(side.run, experiment, swaps)
    return _Seen(
        facts=SideFacts(
            label=side.label,
            run_id=facts.run_id,
            folder=facts.folder,
            experiment=facts.experiment,
            started_at=facts.started_at,
            status=facts.status,
            machine=facts.machine,
            sources=facts.sources,
            source_says=facts.source_says,
            versions=facts.versions,
            counts=count(swaps),
        ),
        by_scenario={
            s.name: [swap for swap in swaps if swap.scenario == s.name] for s in experiment.scenario
        },
        leaks=find_leaks(swaps, experiment.leak_tolerance_bytes),
        notes=run.info.notes,
    )


# What is held once everything has settled, and the most that was held meanwhile.
_HELD: Final[dict[str, Callable[[Swap], float | None]]] = {
    "settled MLX active": lambda swap: swap.settled.get("mlx_active"),
    "settled footprint": lambda swap: swap.settled.get("footprint"),
    "peak MLX active": lambda swap: swap.extremes.get("mlx_active"),
    "peak footprint": lambda swap: swap.extremes.get("footprint"),
}


def _scenario(
    name: str, a: Sequence[Swap], b: Sequence[Swap], margin: float, judge: _Judge
) -> ScenarioComparison:
    a, b = ([swap for swap in side if swap.counted] for side in (a, b))
    # Swap request to first token where both sides have it, the total where not.
    both = {headline_figure(a), headline_figure(b)}
    figure: HeadlineFigure = "to_first_token" if both == {"to_first_token"} else "total"
    ours, theirs = (_by_round(side, lambda swap: swap.figures.get(f"{figure}_s")) for side in (a, b))
    memory = [judge(what, _by_round(a, of), _by_round(b, of), margin, "bytes") for what, of in _HELD.items()]
    return ScenarioComparison(
        scenario=name,
        figure=figure,
        headline=judge(figure, ours, theirs, margin, "s"),
        phases=tuple(_phase(phase, a, b, margin, judge) for phase in PHASES),
        memory=tuple(change for change in memory if change.verdict is not Verdict.NOT_MEASURED),
        detectable=_detectable(ours, theirs, margin, paired=judge is paired_change),
    )


def _by_round(swaps: Sequence[Swap], of: Callable[[Swap], float | None]) -> dict[int, float]:
    return {swap.round: value for swap in swaps if (value := of(swap)) is not None}


def _phase(phase: str, a: Sequence[Swap], b: Sequence[Swap], margin: float, judge: _Judge) -> Change:
    ours, theirs = (_by_round(side, lambda swap: swap.phase_s(phase)) for side in (a, b))
    changed = judge(phase, ours, theirs, margin, "s")
    if changed.verdict is Verdict.NOT_MEASURED and ours and theirs:
        # What takes no time has no ratio; that it takes none was measured all the same.
        took_a, took_b = estimate(ours.values()), estimate(theirs.values())
        return replace(changed, a=took_a, b=took_b, verdict=Verdict.TOO_SHORT)
    for side in (a, b):
        seconds, total = estimate(s.phase_s(phase) for s in side), estimate(s.total_s for s in side)
        if seconds is not None and total is not None and seconds.point > _NEGLIGIBLE_SHARE * total.point:
            return changed
    return _as(changed, Verdict.TOO_SHORT)


def _as(change: Change, verdict: Verdict) -> Change:
    """Another verdict than the interval's own; what was not measured stays so."""
    return change if change.verdict is Verdict.NOT_MEASURED else replace(change, verdict=verdict)


def _detectable(
    a: Mapping[int, float], b: Mapping[int, float], margin: float, *, paired: bool
) -> float | None:
    """By the normal approximation of either rank test, which are 3/pi as efficient as a test of means."""
    if paired:
        logs = [math.log(b[n] / a[n]) for n in a if n in b and a[n] > 0 and b[n] > 0]
        if len(logs) < FEWEST:
            return None
        error = stdev(logs) / math.sqrt(len(logs))
    else:
        x, y = ([math.log(v) for v in side.values() if v > 0] for side in (a, b))
        if min(len(x), len(y)) < FEWEST:
            return None
        error = math.hypot(stdev(x) / math.sqrt(len(x)), stdev(y) / math.sqrt(len(y)))
    return math.exp(math.log1p(margin) + _Z * error * math.sqrt(math.pi / 3)) - 1


def _notes(
    a: _Seen, b: _Seen, shared: Sequence[str], scenarios: Sequence[ScenarioComparison], paired: bool
) -> Iterator[str]:
    """What a reader would get wrong without being told."""
    if not paired:
        yield _APART
    for side, other in ((a, b), (b, a)):
        alone = [name for name in side.by_scenario if name not in other.by_scenario]
        if alone:
            yield f"only in {side.facts.label}: {', '.join(alone)}"
        counts = side.facts.counts
        left_out = counts.failed + counts.rolled_back + counts.refused + counts.invalid
        if left_out:
            yield f"{side.facts.label}: {counted_words(left_out, 'swap')} failed or invalid, and left out"
        if side.facts.status != "complete":
            yield f"{side.facts.label}: the run is {side.facts.status}"
    if shared and all(s.figure == "total" for s in scenarios):
        yield "first token left out: the total is compared, and what moved into the first token is not seen"
    for note in dict.fromkeys((*a.notes, *b.notes)):
        sides = [side.facts.label for side in (a, b) if note in side.notes]
        yield note if len(sides) == 2 else f"{sides[0]}: {note}"


# From fine to grave.
_GRAVITY: Final = (Exit.OK, Exit.INCONCLUSIVE, Exit.LEAK, Exit.REGRESSION, Exit.FAILED)


def gravest(comparisons: Sequence[Comparison], *, strict: bool = False) -> tuple[Comparison, Exit]:
    """Of several comparisons the one that decides, and its exit code."""
    codes = [(comparison, exit_code(comparison, strict=strict)) for comparison in comparisons]
    return max(codes, key=lambda found: _GRAVITY.index(found[1]))


def exit_code(comparison: Comparison, *, strict: bool = False) -> Exit:
    """The gravest thing found. What is merely inconclusive, or not comparable, counts only when `strict`."""
    if comparison.broken:
        return Exit.FAILED
    if not comparison.comparable:
        return Exit.INCONCLUSIVE if strict else Exit.OK
    if comparison.regressions:
        return Exit.REGRESSION
    if any(leak.b.outcome == "leak" and leak.a.outcome != "leak" for leak in comparison.leaks):
        return Exit.LEAK
    decided = (Verdict.FASTER, Verdict.NO_WORSE)
    undecided = any(s.headline.verdict not in decided for s in comparison.scenarios)
    return Exit.INCONCLUSIVE if strict and (undecided or not comparison.scenarios) else Exit.OK

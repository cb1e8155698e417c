"""A run as a whole: its arms and strategies taken apart, what it was run on, its entry in a list."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from swapbench.base.errors import UsageError, did_you_mean
from swapbench.base.figures import counted
from swapbench.base.process import quoted
from swapbench.findings.summary import count, headline
from swapbench.findings.swaps import Swap, swaps_of
from swapbench.spec.experiment import Experiment, Source
from swapbench.store import ArmInfo, Run, RunInfo, RunStatus, experiment_of
from swapbench.store.tables import Row


def arms_of(run: Run) -> tuple[Run, ...]:
    """A run for each arm, in their order; the run itself where it compares nothing."""
    return tuple(_alone(run, arm) for arm in run.info.arms) or (run,)


def arm_of(run: Run, name: str) -> Run:
    """One arm as a run of its own.

    Raises:
        UsageError: the run has no such arm, or no arms.
    """
    arms = {arm.name: arm for arm in run.info.arms}
    if not arms:
        raise UsageError(f'no arm "{name}": this run compares no arms; leave out --arm')
    if name not in arms:
        raise UsageError(f'no arm "{name}" in this run; {did_you_mean(name, list(arms))}')
    return _alone(run, arms[name])


def _alone(run: Run, arm: ArmInfo) -> Run:
    own = {name: getattr(arm, name) for name in ("experiment", "models", "worker", "baselines", "server")}
    info = {**own, "notes": (*run.info.notes, *arm.notes), "arms": ()}
    return _changed(run, info, lambda rows: [row for row in rows if row["arm"] == arm.name])


def _changed(run: Run, info: Mapping[str, Any], rows: Callable[[Iterable[Row]], Sequence[Row]]) -> Run:
    """The run with its facts, and all of its tables alike, changed."""
    tables = (run.phases, run.swaps, run.memory, run.requests)
    phases, swaps, memory, requests = (tuple(rows(table)) for table in tables)
    facts = run.info.model_copy(update=info)
    return replace(run, info=facts, phases=phases, swaps=swaps, memory=memory, requests=requests)


def cell_name(scenario: str, strategy: str) -> str:
    """What a scenario is called under a strategy, where there are several."""
    return f"{scenario} ({strategy})"


def by_cell(run: Run, experiment: Experiment) -> tuple[Run, Experiment]:
    """The run with a scenario for every cell; as it is where there is one strategy."""
    if len(experiment.strategy) == 1:
        return run, experiment
    scenarios = tuple(
        scenario.model_copy(update={"name": cell_name(scenario.name, strategy)})
        for scenario in experiment.scenario
        for strategy in experiment.strategy
    )

    def renamed(rows: Iterable[Row]) -> list[Row]:
        names = ((row, cell_name(row["scenario"], row["strategy"])) for row in rows)
        return [{**row, "scenario": name if row["scenario"] else ""} for row, name in names]

    return _changed(run, {}, renamed), experiment.model_copy(update={"scenario": scenarios})


def only(run: Run, strategy: str) -> Run:
    """What a run says of one of its strategies, as a run of it alone.

    Raises:
        UsageError: the run has no such strategy.
    """
    strategies = experiment_of(run).strategy
    if strategy not in strategies:
        raise UsageError(f'no strategy "{strategy}" in this run; {did_you_mean(strategy, list(strategies))}')
    how = strategies[strategy].model_dump(mode="json")
    alone = run.info.experiment | {"strategy": {strategy: how}, "criterion": []}
    return _changed(run, {"experiment": alone}, lambda rows: [r for r in rows if r["strategy"] == strategy])


_SOURCE_SAYS: Final = {
    Source.HUB: "the published checkpoints",
    Source.LOCAL: "checkpoints in folders given by path; nothing is known of where they are from",
    Source.SYNTHETIC: "full size and real shapes, random weights",
    Source.MINI: "scaled down; their times say nothing about the real models",
}

_ENDED: Final = {
    "running": "it is still running, or was killed",
    "interrupted": "it was interrupted",
    "incomplete": "it broke off",
}


@dataclass(frozen=True)
class ModelFacts:
    """One model of the run; a server's own, asked for by name, has no known size."""

    name: str
    reference: str
    source: str
    weight_bytes: int | None


@dataclass(frozen=True)
class RunFacts:
    """The run as its report introduces it. `claims` is whether its figures speak of the real models.
    `incomplete` is why it ended early, and how far it got; empty where it did not."""

    run_id: str
    folder: str
    experiment: str
    title: str
    started_at: datetime
    status: RunStatus
    incomplete: str
    resume_command: str
    sources: tuple[str, ...]
    source_says: str
    claims: bool
    transcribed_from: str
    target: str
    strategy: str
    page_cache: str
    rounds: int
    warmup_rounds: int
    planned_swaps: int
    finished_swaps: int
    machine: str
    device: str
    versions: Mapping[str, str]
    models: tuple[ModelFacts, ...]


def facts_of(run: Run, experiment: Experiment, swaps: Sequence[Swap]) -> RunFacts:
    """The facts of a run."""
    info, worker, scripted = run.info, run.info.worker, experiment.target == "scripted"
    planned = (experiment.rounds + experiment.warmup) * len(experiment.scenario)
    finished = len({(swap.round, swap.scenario) for swap in swaps})
    incomplete = ""
    if info.status != "complete":
        cause = f": {info.failure}" if info.failure else ""
        incomplete = f"{finished} of {counted(planned, 'swap')} done; {_ENDED[info.status]}{cause}"
    strategies = {name: how.describe() for name, how in experiment.strategy.items()}
    versions = {"swapbench": info.swapbench_version}
    if worker:
        versions |= dict(worker.versions) | {"python": worker.python}
    return RunFacts(
        run_id=info.run_id,
        folder=str(run.folder),
        experiment=info.experiment_name,
        title=experiment.title or info.experiment_name,
        started_at=info.started_at,
        status=info.status,
        incomplete=incomplete,
        resume_command="" if run.damage or not incomplete else f"swapbench run --resume {quoted(run.folder)}",
        sources=("scripted",) if scripted else tuple(map(str, info.sources())),
        source_says="no model at all: times and memory come from a script"
        if scripted
        else _source_says(info),
        claims=all(source.is_full_size for source in info.sources()),
        transcribed_from=info.transcribed_from,
        target=experiment.target,
        strategy="; ".join(
            name if does == f"loader {name}" else f"{name} ({does})" for name, does in strategies.items()
        ),
        page_cache=str(experiment.page_cache),
        rounds=len({swap.round for swap in swaps if not swap.warmup}),
        warmup_rounds=len({swap.round for swap in swaps if swap.warmup}),
        planned_swaps=planned,
        finished_swaps=finished,
        machine=info.machine.describe(),
        device=worker.device if worker else "",
        versions={name: version for name, version in versions.items() if version},
        models=tuple(
            ModelFacts(m.name, m.reference, str(m.source), m.weight_bytes or None) for m in info.models
        ),
    )


def _source_says(info: RunInfo) -> str:
    says = [_SOURCE_SAYS[source] for source in info.sources()]
    if len(says) > 1:
        names = {s: dict.fromkeys(m.name for m in info.all_models() if m.source is s) for s in info.sources()}
        says = [f"{', '.join(those)}: {_SOURCE_SAYS[source]}" for source, those in names.items()]
    if info.transcribed_from:
        says.append("these figures are transcribed, not measured by swapbench")
    return "; ".join(says)


def reloads(run: Run, experiment: Experiment) -> Iterator[str]:
    """What swaps a model for itself, by one name or by two."""
    meant = {m.name: str(m.path) if m.path.parts else m.reference for m in run.info.models}
    for scenario in experiment.reloads(meant):
        yield f"{scenario}: both models are the same: this is a reload, no swap for another"


@dataclass(frozen=True)
class RunOutline:
    """One run in a list; `headline_s` is what each scenario took under each strategy, as a report has it."""

    run_id: str
    experiment: str
    started_at: datetime
    sources: tuple[str, ...]
    status: RunStatus
    swaps_ok: int
    swaps_failed: int
    headline_s: dict[str, float]
    folder: str


def outline(run: Run) -> RunOutline:
    """The outline of a run, from its swaps alone.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    cells, experiment = by_cell(run, experiment_of(run))
    swaps = swaps_of(cells)
    facts, counts = facts_of(run, experiment, swaps), count(swaps)
    sides = {f" ({arm.name})": swaps_of(_alone(run, arm)) for arm in run.info.arms} or {"": swaps}
    headlines = {
        f"{s.name}{mark}": headline([swap for swap in own if swap.counted and swap.scenario == s.name])[0]
        for mark, own in sides.items()
        for s in experiment.scenario
    }
    same = {name: getattr(facts, name) for name in RunOutline.__dataclass_fields__ if hasattr(facts, name)}
    return RunOutline(
        **same,
        swaps_ok=counts.counted + counts.warmup + counts.invalid,
        swaps_failed=counts.failed + counts.rolled_back + counts.refused,
        headline_s={name: value.point for name, value in headlines.items() if value and not run.damage},
    )

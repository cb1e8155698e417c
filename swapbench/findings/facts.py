"""What was run, on what, with what, and how it ended: what a reader must know before any figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from swapbench.base.shell import quoted
from swapbench.findings.figures import counted
from swapbench.findings.swaps import Swap
from swapbench.spec.experiment import Experiment, Source
from swapbench.spec.strategy import Strategy
from swapbench.store import Run, RunInfo, RunStatus

_SOURCE_SAYS: Final = {
    Source.HUB: "the published checkpoints",
    Source.LOCAL: "checkpoints in folders given by path; nothing is known of where they are from",
    Source.SYNTHETIC: "full size and real shapes, random weights",
    Source.MINI: "the same architectures scaled down; no claim about the real models",
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
    """The run as its report introduces it. `claims` is whether its figures speak of the real models."""

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
    info = run.info
    planned = (experiment.rounds + experiment.warmup) * len(experiment.scenario)
    finished = len({(swap.round, swap.scenario) for swap in swaps})
    incomplete = _incomplete(info, finished, planned)
    return RunFacts(
        run_id=info.run_id,
        folder=str(run.folder),
        experiment=info.experiment_name,
        title=experiment.title or info.experiment_name,
        started_at=info.started_at,
        status=info.status,
        incomplete=incomplete,
        resume_command="" if run.damage or not incomplete else f"swapbench run --resume {quoted(run.folder)}",
        sources=("scripted",) if experiment.target == "scripted" else tuple(map(str, info.sources())),
        source_says=_source_says(info, experiment),
        claims=all(source.is_full_size for source in info.sources()),
        transcribed_from=info.transcribed_from,
        target=experiment.target,
        strategy="; ".join(_in_words(name, how) for name, how in experiment.strategy.items()),
        page_cache=str(experiment.page_cache),
        rounds=len({swap.round for swap in swaps if not swap.warmup}),
        warmup_rounds=len({swap.round for swap in swaps if swap.warmup}),
        planned_swaps=planned,
        finished_swaps=finished,
        machine=info.machine.describe(),
        device=info.worker.device if info.worker else "",
        versions=_versions(info),
        models=tuple(
            ModelFacts(m.name, m.reference, str(m.source), m.weight_bytes or None) for m in info.models
        ),
    )


def reloads(run: Run, experiment: Experiment) -> Iterator[str]:
    """What swaps a model for itself, by one name or by two."""
    meant = {m.name: str(m.path) if m.path.parts else m.reference for m in run.info.models}
    for scenario in experiment.reloads(meant):
        yield f"{scenario}: both models are the same: this is a reload, no swap for another"


def _in_words(name: str, strategy: Strategy) -> str:
    does = strategy.describe()
    return name if does == f"loader {name}" else f"{name} ({does})"


def _source_says(info: RunInfo, experiment: Experiment) -> str:
    if experiment.target == "scripted":
        return "no model at all: times and memory come from a script"
    sources = info.sources()
    says = [_SOURCE_SAYS[source] for source in sources]
    if len(sources) > 1:
        says = [f"{_named(info, source)}: {words}" for source, words in zip(sources, says, strict=True)]
    if info.transcribed_from:
        says.append("these figures are transcribed, not measured by swapbench")
    return "; ".join(says)


def _named(info: RunInfo, source: Source) -> str:
    return ", ".join(dict.fromkeys(model.name for model in info.all_models() if model.source is source))


def _incomplete(info: RunInfo, finished: int, planned: int) -> str:
    """Why a run ended early, and how far it got; empty for one that did not."""
    if info.status == "complete":
        return ""
    why = {
        "running": "it is still running, or was killed",
        "interrupted": "it was interrupted",
        "incomplete": "it broke off",
    }[info.status]
    cause = f": {info.failure}" if info.failure else ""
    return f"{finished} of {counted(planned, 'swap')} done; {why}{cause}"


def _versions(info: RunInfo) -> dict[str, str]:
    versions = {"swapbench": info.swapbench_version}
    if info.worker:
        versions |= dict(info.worker.versions) | {"python": info.worker.python}
    return {name: version for name, version in versions.items() if version}

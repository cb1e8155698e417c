"""What makes runs comparable: which differences matter, and to whom, is said here once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any, Final

from swapbench.machine.environment import Machine
from swapbench.models.locate import is_path
from swapbench.spec.experiment import Experiment
from swapbench.store import Run, RunInfo, experiment_of
from swapbench.wire.events import WHEEL

# Settings that change how often or how closely is looked, or what is demanded: not what is measured.
_NOT_MEASURED: Final = frozenset(
    (
        *("schema_version", "title", "description", "rounds", "warmup", "order", "seed"),
        *("target_s", "expected_s", "criterion", "gate", "leak_tolerance_bytes", "swap_timeout_s"),
        # These are aspects of their own.
        *("source", "models", "page_cache", "scenario", "strategy"),
    )
)

# What runs are compared for, and what decides how MLX keeps its memory, beside its version: no history mixes
# it, but two runs may differ in it.
_COMPARED: Final = frozenset(("target", "strategy", "macOS release", WHEEL))


@dataclass(frozen=True)
class Difference:
    """What is not the same in two runs. Where it is `decisive`, their figures can't be compared."""

    what: str
    a: str
    b: str
    decisive: bool

    def describe(self) -> str:
        """`machine: Apple M4 Pro against Apple M2`."""
        return f"{self.what}: {self.a or 'unknown'} against {self.b or 'unknown'}"


def fingerprint(info: RunInfo, experiment: Experiment) -> dict[str, str]:
    """What figures of one history have in common, aspect by aspect, in words.

    Args:
        experiment: the run's, or one scenario of it under one strategy (`of_cell`).
    """
    return {**circumstances(info, experiment.model_names()), **settings(experiment)}


def of_cell(experiment: Experiment, scenario: str, strategy: str) -> Experiment:
    """An experiment of one scenario under one strategy alone: what its figures depend on."""
    return experiment.model_copy(
        update={
            "scenario": tuple(s for s in experiment.scenario if s.name == scenario),
            "strategy": {name: how for name, how in experiment.strategy.items() if name == strategy},
            "fault": tuple(fault for fault in experiment.fault if fault.scenario == scenario),
        }
    )


def circumstances(info: RunInfo, models: tuple[str, ...]) -> dict[str, str]:
    """The part of a fingerprint that run.json tells: what was measured on, and of these models."""
    release = info.machine.release.partition(".")[0]
    return {
        "machine": identity(info.machine),
        "device": info.worker.device if info.worker else "",
        "models": "; ".join(_models(info, models)),
        "experiment": info.experiment_name,
        # A new release can be another machine; what is after the point is a version.
        **({"macOS release": release} if info.machine.system == "macOS" else {}),
        WHEEL: info.worker.versions.get(WHEEL, "") if info.worker else "",
        **{name: value for name, value in info.variables.items() if _tunes_mlx(name)},
    }


def settings(experiment: Experiment) -> dict[str, str]:
    """The part of a fingerprint that the experiment says: every setting that what is measured depends on, by
    its key path; defaults too, which may change."""
    raw = experiment.model_dump(mode="json", by_alias=True, exclude=set(_NOT_MEASURED))
    scenarios = {
        s.name: s.model_dump(mode="json", by_alias=True, exclude={"name", "page_cache"})
        for s in experiment.scenario
    }
    # By name: the order in which scenarios are taken is none of theirs.
    caches = sorted((s.name, str(experiment.page_cache_of(s))) for s in experiment.scenario)
    does = {name: strategy.describe() for name, strategy in experiment.strategy.items()}
    return {
        "page cache": ", ".join(f"{state} ({name})" for name, state in caches),
        **dict(_flat(raw | {"scenario": scenarios}, "")),
        "strategy": ", ".join(n if how == f"loader {n}" else f"{n} ({how})" for n, how in does.items()),
    }


def versions_of(info: RunInfo) -> dict[str, str]:
    """Whatever may have changed on a machine between two runs, and parts nothing: a history is looked through
    for it."""
    versions = {"swapbench": info.swapbench_version}
    if info.worker is not None:
        versions |= {**info.worker.versions, "Python": info.worker.python}
    versions[f"{info.machine.system} release"] = info.machine.release
    return {name: version for name, version in versions.items() if version}


def differences(a: Run, b: Run) -> tuple[Difference, ...]:
    """What is not the same in two runs, the decisive first.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    ours, theirs = (fingerprint(run.info, experiment_of(run)) for run in (a, b))
    told = unlike(ours | versions_of(a.info), theirs | versions_of(b.info))
    demanded = {what for what in (*ours, *theirs) if what not in _COMPARED and not _tunes_mlx(what)}
    found = [Difference(what, *sides, what in demanded) for what, sides in told.items()]
    return tuple(sorted(found, key=lambda difference: not difference.decisive))


def unlike(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The aspects in which two fingerprints differ, with what either has."""
    both = {what: (a.get(what, ""), b.get(what, "")) for what in (*a, *b)}
    return {what: sides for what, sides in both.items() if sides[0] != sides[1]}


@cache
def identity(machine: Machine) -> str:
    """A machine without its system's release."""
    return machine.model_copy(update={"release": ""}).describe()


def _tunes_mlx(variable: str) -> bool:
    return variable.startswith("MLX_")


def _models(info: RunInfo, used: tuple[str, ...]) -> Iterator[str]:
    """By what they are, not by where they lie."""
    for model in sorted(info.models, key=lambda m: m.name):
        if model.name in used:
            what = PurePath(model.reference).name if is_path(model.reference) else model.reference
            yield f"{model.name} = {what} ({model.source}, {model.weight_bytes} bytes)"


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif value not in (None, {}, [], ()):
        yield path, value if isinstance(value, str) else json.dumps(value)

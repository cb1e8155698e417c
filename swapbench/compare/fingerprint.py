"""What makes runs comparable: the same machine, models, page cache and experiment."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from swapbench.models.locate import is_path
from swapbench.spec.experiment import Experiment
from swapbench.store import Run, RunInfo, experiment_of
from swapbench.wire.events import WHEEL

# Settings that change how often or how closely is looked, or what is demanded: not what is measured.
_NOT_MEASURED: Final = frozenset(
    (
        *("schema_version", "title", "description", "rounds", "warmup", "order", "seed"),
        *("target_s", "expected_s", "criterion", "gate", "leak_tolerance_bytes", "swap_timeout_s"),
        # What is compared.
        *("strategy", "target"),
        # These are aspects of their own.
        *("source", "models", "page_cache", "scenario"),
    )
)


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


def fingerprint(run: Run) -> dict[str, str]:
    """What has to be the same before figures are compared, aspect by aspect, in words.

    Raises:
        ResultsError: run.json holds no experiment that this swapbench understands.
    """
    experiment = experiment_of(run)
    machine = run.info.machine
    return {
        "machine": machine.model_copy(update={"release": ""}).describe(),
        "device": run.info.worker.device if run.info.worker else "",
        "models": "; ".join(_models(run.info, experiment)),
        "page cache": ", ".join(f"{label} ({name})" for name, label in _page_caches(experiment).items()),
        "experiment": run.info.experiment_name,
        **_settings(experiment),
    }


def fingerprint_of_history(run: Run) -> dict[str, str]:
    """As `fingerprint`, with what may be compared and is not mixed in one history: target, strategy, MLX.

    Raises:
        ResultsError: as `fingerprint`.
    """
    experiment = experiment_of(run)
    return {
        **fingerprint(run),
        "target": experiment.target,
        "strategy": _strategies(experiment),
        **_surroundings(run.info),
    }


def digest(aspects: Mapping[str, str]) -> str:
    """A fingerprint in twelve characters: equal for runs that can be compared, unlike for others."""
    return hashlib.sha256(json.dumps(aspects, sort_keys=True).encode()).hexdigest()[:12]


def differences(a: Run, b: Run) -> tuple[Difference, ...]:
    """What is not the same in two runs, the decisive first.

    Raises:
        ResultsError: as `fingerprint`.
    """
    return (
        *_unlike(fingerprint(a), fingerprint(b), decisive=True),
        *_unlike(_variants(a), _variants(b), decisive=False),
    )


def _unlike(a: Mapping[str, str], b: Mapping[str, str], *, decisive: bool) -> Iterator[Difference]:
    for what in dict.fromkeys((*a, *b)):
        if a.get(what, "") != b.get(what, ""):
            yield Difference(what, a.get(what, ""), b.get(what, ""), decisive)


def _surroundings(info: RunInfo) -> dict[str, str]:
    """What decides how MLX keeps its memory, beside its version."""
    mlx = {name: value for name, value in info.variables.items() if name.startswith("MLX_")}
    release = {"macOS release": info.machine.release} if info.machine.system == "macOS" else {}
    return {**release, WHEEL: info.worker.versions.get(WHEEL, "") if info.worker else "", **mlx}


def _variants(run: Run) -> dict[str, str]:
    """What runs are compared for: versions, strategies, the system's release, MLX's variables."""
    worker = run.info.worker
    versions = {"swapbench": run.info.swapbench_version}
    if worker is not None:
        versions |= dict(worker.versions) | {"Python": worker.python}
    experiment = experiment_of(run)
    return {
        "target": experiment.target,
        "strategy": _strategies(experiment),
        **versions,
        **_surroundings(run.info),
        f"{run.info.machine.system} release": run.info.machine.release,
    }


def _strategies(experiment: Experiment) -> str:
    how = {name: strategy.describe() for name, strategy in experiment.strategy.items()}
    return ", ".join(name if does == f"loader {name}" else f"{name} ({does})" for name, does in how.items())


def _models(info: RunInfo, experiment: Experiment) -> Iterator[str]:
    """By what they are, not by where they lie."""
    used = experiment.model_names()
    for model in sorted(info.models, key=lambda m: m.name):
        if model.name in used:
            what = PurePath(model.reference).name if is_path(model.reference) else model.reference
            yield f"{model.name} = {what} ({model.source}, {model.weight_bytes} bytes)"


def _page_caches(experiment: Experiment) -> dict[str, str]:
    """By name: the order in which scenarios are taken is none of theirs."""
    return {
        s.name: str(experiment.page_cache_of(s)) for s in sorted(experiment.scenario, key=lambda s: s.name)
    }


def _settings(experiment: Experiment) -> dict[str, str]:
    """Every setting that what is measured depends on, by its key path; defaults too, which may change."""
    raw = experiment.model_dump(mode="json", by_alias=True, exclude=set(_NOT_MEASURED))
    scenarios = {
        s.name: s.model_dump(mode="json", by_alias=True, exclude={"name", "page_cache"})
        for s in experiment.scenario
    }
    return dict(_flat(raw | {"scenario": scenarios}, ""))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif value not in (None, {}, [], ()):
        yield path, value if isinstance(value, str) else json.dumps(value)

"""What a run takes and what the machine has: memory, disk, and the limits that a child measures."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swapbench.base.errors import UsageError
from swapbench.base.files import why_no_folder
from swapbench.base.process import LENT
from swapbench.machine import allowance
from swapbench.machine.environment import (
    Limits,
    Machine,
    Rate,
    Volume,
    load_limits,
    save_limits,
    this_machine,
)
from swapbench.models.cache import cache_root
from swapbench.models.checkpoint import weight_bytes
from swapbench.models.hub import hub_cache
from swapbench.spec.experiment import Experiment, PageCache, Source
from swapbench.wire.plan import Checkpoint


@dataclass(frozen=True)
class ModelSize:
    """A model of an experiment: its weight, 0 if nobody knows, and whether its checkpoint is there."""

    weight_bytes: int
    on_disk: bool


@dataclass(frozen=True)
class Needs:
    """What a run takes, in bytes; at least that, where models are of unknown size."""

    largest_model: str
    largest_model_bytes: int
    kv_bytes: int
    page_cache_bytes: int
    missing_bytes: int
    eviction_bytes: int
    unweighed: tuple[str, ...] = ()
    missing_unweighed: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """What can't be given back while a run goes on: the biggest model, and KV caches up to the budget."""
        return self.largest_model_bytes + self.kv_bytes


@dataclass(frozen=True)
class Available:
    """What there is for a run, in bytes: memory, and who limits it if not the machine; disk where checkpoints
    and results are kept."""

    memory_available_bytes: int
    checkpoints_free_bytes: int
    results_free_bytes: int
    memory_limited_by: str = ""


def available(source: Source) -> Available:
    """What there is now for checkpoints of that source, and for results in this folder."""
    memory = allowance.memory().available
    folder = hub_cache() if source is Source.HUB else cache_root()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return Available(
        memory_available_bytes=memory.bytes,
        checkpoints_free_bytes=shutil.disk_usage(there).free,
        results_free_bytes=shutil.disk_usage(Path.cwd()).free,
        memory_limited_by=memory.by,
    )


def needs(experiment: Experiment, sizes: Mapping[str, ModelSize]) -> Needs:
    """What a run of `experiment` takes; `sizes` has an entry for each of its models."""
    names = experiment.model_names()
    weights = {name: sizes[name].weight_bytes for name in names}
    largest = max(names, key=weights.__getitem__)
    unweighed = tuple(name for name in names if not weights[name])
    uses_kv = experiment.workload.agents or experiment.workload.requests
    kv_bytes = experiment.engine.kv_budget_bytes if uses_kv else 0
    # Warm: the new model's file pages have to survive beside the old model, and then beside the copy that is
    # loaded from them.
    beside = (
        weights[s.to_model] + max(weights[s.from_model], weights[s.to_model]) for s in experiment.scenario
    )
    return Needs(
        largest_model=largest,
        largest_model_bytes=weights[largest],
        kv_bytes=kv_bytes,
        page_cache_bytes=max(beside) if experiment.page_cache is PageCache.WARM else 0,
        missing_bytes=sum(weights[name] for name in names if not sizes[name].on_disk),
        eviction_bytes=kv_bytes * len(names) if experiment.workload.agents else 0,
        unweighed=unweighed,
        missing_unweighed=tuple(name for name in unweighed if not sizes[name].on_disk),
    )


def measure(folder: Path, say: Callable[[str], None]) -> tuple[Limits, Path]:
    """Measure the volume of `folder`, told step by step; returns the limits and the file that keeps them.

    Raises:
        UsageError: there is no room to measure in, or the folder, or swapbench's cache, can't be written.
    """
    if why := why_no_folder(cache_root()):
        raise UsageError(
            f"{cache_root()}: what is found can't be kept there: {why}; SWAPBENCH_CACHE names another folder"
        )
    say(f"measuring the volume of {folder}: under a minute, about 1 GB of disk and memory")
    child = subprocess.Popen(
        [sys.executable, *LENT, "swapbench.worker.roofline", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    rates = []
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for line in child.stdout:
                rates.append(rate := Rate.model_validate_json(line))
                say(f"  {rate.describe()}: {rate.median:.2f} GB/s")
            complaint = child.stderr.read().strip()
        except BaseException:  # whoever ends this doesn't wait for what it is at
            child.kill()
            raise
    if child.returncode or not rates:
        why = complaint.splitlines()[-1] if complaint else f"exit code {child.returncode}"
        raise UsageError(f"{why}; --folder chooses another place")
    now, volume = datetime.now(UTC), Volume.of(folder)
    limits = Limits(machine=this_machine(), volume=volume, measured_at=now, rates=tuple(rates))
    return limits, save_limits(limits, cache_root())


def models_folders() -> tuple[Path, ...]:
    """swapbench's cache, and the hub's where this user may have one.

    Raises:
        UsageError: both are in a home folder, and there is none.
    """
    folders = [cache_root()]
    with suppress(UsageError):
        folders.append(hub_cache())
    return tuple(folders)


def models_folder() -> Path:
    """Where models lie: with the stand-ins that swapbench made if there are any, else in the hub's cache."""
    cache, *hub = models_folders()
    return cache if (cache / Source.SYNTHETIC).is_dir() else next(filter(Path.is_dir, hub), cache)


def weights_here() -> dict[str, int]:
    """The bytes of weights of every checkpoint in `models_folders`, by name."""
    from swapbench.models.stand_ins.store import MADE_SOURCES

    cache, *hub = models_folders()
    made = [folder for source in MADE_SOURCES for folder in (cache / source).glob("[!.]*")]
    found = {f"{folder.name} ({folder.parent.name})": weight_bytes(folder) for folder in made}
    for snapshot in (snapshot for folder in hub for snapshot in folder.glob("models--*/snapshots/*")):
        repo = snapshot.parents[1].name.removeprefix("models--").replace("--", "/")
        found[repo] = max(found.get(repo, 0), weight_bytes(snapshot))
    return found


def limits_of(checkpoints: Sequence[Checkpoint], machine: Machine) -> Limits | None:
    """What was found of the volume that a run's models lie on, if it still holds for the machine.

    None where they lie on several: no one disk is the limit then.
    """
    volumes = {Volume.of(checkpoint.path) for checkpoint in checkpoints}
    if len(volumes) != 1 or machine != this_machine():
        return None
    return load_limits(machine, volumes.pop(), cache_root())

"""What a run of an experiment takes of the machine, and what that has: memory and disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swapbench.machine import allowance
from swapbench.spec.experiment import Experiment, PageCache, Source


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
    import psutil

    from swapbench.models.cache import cache_root
    from swapbench.models.hub import hub_cache

    memory = allowance.memory().available
    folder = hub_cache() if source is Source.HUB else cache_root()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return Available(
        memory_available_bytes=memory.bytes,
        checkpoints_free_bytes=psutil.disk_usage(str(there)).free,
        results_free_bytes=psutil.disk_usage(str(Path.cwd())).free,
        memory_limited_by=memory.by,
    )


def needs(experiment: Experiment, sizes: Mapping[str, ModelSize]) -> Needs:
    """What a run of `experiment` takes; `sizes` has an entry for each of its models."""
    names = experiment.model_names()
    largest = max(names, key=lambda name: sizes[name].weight_bytes)
    unweighed = tuple(name for name in names if not sizes[name].weight_bytes)
    kv_bytes = experiment.engine.kv_budget_bytes if _uses_kv(experiment) else 0
    return Needs(
        largest_model=largest,
        largest_model_bytes=sizes[largest].weight_bytes,
        kv_bytes=kv_bytes,
        page_cache_bytes=_page_cache_bytes(experiment, sizes),
        missing_bytes=sum(sizes[name].weight_bytes for name in names if not sizes[name].on_disk),
        eviction_bytes=kv_bytes * len(names) if experiment.workload.agents else 0,
        unweighed=unweighed,
        missing_unweighed=tuple(name for name in unweighed if not sizes[name].on_disk),
    )


def _uses_kv(experiment: Experiment) -> bool:
    return bool(experiment.workload.agents or experiment.workload.requests)


def _page_cache_bytes(experiment: Experiment, sizes: Mapping[str, ModelSize]) -> int:
    """Warm: the new model's file pages have to survive beside the old model, and then beside the copy
    that is loaded from them."""
    if experiment.page_cache is not PageCache.WARM:
        return 0
    return max(
        sizes[s.to_model].weight_bytes + max(sizes[s.from_model].weight_bytes, sizes[s.to_model].weight_bytes)
        for s in experiment.scenario
    )

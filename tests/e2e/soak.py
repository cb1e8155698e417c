"""The soak with a leak injected: `python -m tests.e2e.soak LEAK OUT`, in a process of its own."""

import gc
import mmap
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from swapbench.experiment import find, load
from swapbench.models.locate import provide
from swapbench.plan import make_plan
from swapbench.runner import follow, new_job
from swapbench.wire import Event, Plan
from swapbench.worker import page_cache
from swapbench.worker.session import run_session
from swapbench.worker.targets.inprocess import InProcessTarget

MIB = 1 << 20


class Clean(InProcessTarget):
    """The engine as it is."""


class RetainsTheModel(InProcessTarget):
    """Keeps a reference to every model that it ever served, as a forgotten callback would."""

    kept: ClassVar[list[Any]] = []

    def _unload(self) -> None:
        if self._loaded is not None:
            self.kept.append(self._loaded.model)
        super()._unload()


class LeaksInPython(InProcessTarget):
    """A megabyte of Python objects a swap, which no counter of MLX's sees."""

    kept: ClassVar[list[Any]] = []

    def _unload(self) -> None:
        self.kept.append([os.urandom(1024) for _ in range(1024)])
        super()._unload()


class LeaksMappings(InProcessTarget):
    """Maps the checkpoint, reads it through, and never unmaps it."""

    kept: ClassVar[list[Any]] = []

    def _unload(self) -> None:
        if self._served is not None:
            for file in page_cache.weight_files(self._served.path):
                with file.open("rb") as opened:
                    mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
                    sum(mapped[:: mmap.PAGESIZE])
                    self.kept.append(mapped)
        super()._unload()


class GrowsThePool(InProcessTarget):
    """Never clears MLX's cache, under a limit out of reach, and frees buffers that nobody asks for again."""

    swaps = 0

    def _unload(self) -> None:
        import mlx.core as mx

        # The CPU build's limit is 32 MiB, at which the pool stops growing by itself; Metal's is gigabytes.
        mx.set_cache_limit(1 << 40)
        self._served = self._loaded = None
        gc.collect()
        type(self).swaps += 1
        # Larger than any buffer that lies in the pool already, or it would borrow one and give it back.
        mx.eval(mx.arange(8 * MIB + self.swaps * 65_536, dtype=mx.uint8))


LEAKS = {
    "none": Clean,
    "model": RetainsTheModel,
    "python": LeaksInPython,
    "mapping": LeaksMappings,
    "pool": GrowsThePool,
}


class _Unseen:
    def on(self, event: Event) -> None:
        pass


def soak(leak: str, out: Path) -> None:
    """Run exp015-soak with the leak, into a run folder under `out`."""
    file = find("exp015-soak")
    # mlx-lm clears MLX's cache with every prompt: the pool grows only while nobody asks for anything.
    experiment = load(file, ["first_token=false"] if leak == "pool" else [])
    checkpoints = provide(experiment.models, experiment.source, lambda _: None)
    job = new_job(experiment, file, checkpoints, out, command=["soak", leak])
    plan: Plan = make_plan(experiment, checkpoints, job.writer.folder / "caches")
    events: list[Event] = []
    run_session(plan, LEAKS[leak](plan), events.append, os.getpid())
    follow(events, experiment, job.writer, _Unseen())


if __name__ == "__main__":
    soak(sys.argv[1], Path(sys.argv[2]))

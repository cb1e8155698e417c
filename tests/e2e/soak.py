"""The soak with a leak injected: `python -m tests.e2e.soak LEAK OUT`, in a process of its own."""

import gc
import mmap
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from swapbench.instruments import page_cache
from swapbench.loaders.arrays import Span, unmeasured
from swapbench.wire.plan import Plan
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.playing import carry_out

MIB = 1 << 20


class Clean(InProcessTarget):
    """The engine as it is, under a limit of MLX's cache as Metal has it: the CPU build's is 32 MiB."""

    def __init__(self, plan: Plan) -> None:
        import mlx.core as mx

        super().__init__(plan)
        mx.set_cache_limit(8 << 30)


class RetainsTheModel(InProcessTarget):
    """Keeps a reference to every model that it ever served, as a forgotten callback would."""

    kept: ClassVar[list[Any]] = []

    def _unload(self, span: Span = unmeasured) -> None:
        if self._loaded is not None:
            self.kept.append(self._loaded.model)
        super()._unload(span)


class LeaksInPython(InProcessTarget):
    """A megabyte of Python objects a swap, which no counter of MLX's sees."""

    kept: ClassVar[list[Any]] = []

    def _unload(self, span: Span = unmeasured) -> None:
        self.kept.append([os.urandom(1024) for _ in range(1024)])
        super()._unload(span)


class LeaksMappings(InProcessTarget):
    """Maps the checkpoint, reads it through, and never unmaps it."""

    kept: ClassVar[list[Any]] = []

    def _unload(self, span: Span = unmeasured) -> None:
        if self._served is not None:
            for file in page_cache.weight_files(self._served.path):
                with file.open("rb") as opened:
                    mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
                    sum(mapped[:: mmap.PAGESIZE])
                    self.kept.append(mapped)
        super()._unload(span)


class GrowsThePool(InProcessTarget):
    """Never clears MLX's cache, under a limit out of reach, and frees buffers that nobody asks for again."""

    swaps = 0

    def _unload(self, span: Span = unmeasured) -> None:
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


def soak(leak: str, out: Path) -> None:
    """Run exp015-soak with the leak, into a run folder under `out`."""
    # mlx-lm clears MLX's cache with every prompt: the pool grows only while nobody asks for anything.
    overrides = ["first_token=false"] if leak == "pool" else []
    carry_out(LEAKS[leak], "exp015-soak", overrides, out)


if __name__ == "__main__":
    soak(sys.argv[1], Path(sys.argv[2]))

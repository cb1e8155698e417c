"""map: the checkpoint's pages in the page cache are the weights; nothing is copied.

On Metal an array may be made over any page-aligned memory, so over a mapping of an aligned file. MLX's CPU
build has no such call: there the file is laid over the pages of an array that nobody has written to (Linux).
"""

import ctypes
import mmap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np

from swapbench.loaders import platform
from swapbench.loaders.arrays import Shard, address_of, longest_array_bytes, shards_of, unwritten, views
from swapbench.loaders.platform import HUGE_PAGE_BYTES
from swapbench.loaders.slab import Slab
from swapbench.loaders.source import Arrival, UnfitError, WeightSource
from swapbench.models.checkpoint import Entry
from swapbench.spec.strategy import Strategy

LOADERS: Final = {
    "map": {
        "cost": "weights are page cache, which the system may take back",
        "avoid": "where memory is short: tokens wait for disk",
        "fallback": "fill",
    },
}

# Tensors of one mapping over an array: fewer mappings than tensors.
_SEGMENT_BYTES: Final = 1 << 30
_THREADS: Final = 2
_POPULATE_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class _Mapping:
    """Pages of a file in memory, as long as `owner` lives."""

    address: int
    length: int
    owner: object


class Mapped:
    """Keeps nothing between loads.

    Args:
        incremental: weights count as there when they are mapped; threads make them resident afterwards, in
            the order of the files.
    """

    def __init__(self, *, incremental: bool = False) -> None:
        self._incremental = incremental
        self._population: _Population | None = None

    def begin(self, checkpoint: Path) -> Arrival:
        """As `WeightSource`."""
        self.released()
        shards = shards_of(checkpoint)
        why = unmappable(shards)
        if why:
            raise UnfitError(why)
        lay = _overlaid if _overlays() else arrays_over
        weights: dict[str, mx.array] = {}
        mappings: list[_Mapping] = []
        for shard in shards:
            weights |= lay(shard, mappings)
        population = self._population = _Population(mappings)
        if self._incremental:
            return Arrival(weights, stop=population.stop)
        return Arrival(weights, population.wait, population.stop)

    def released(self) -> None:
        """Populate no more: the mappings go with their arrays."""
        if self._population is not None:
            self._population.stop()
            self._population = None


def sources(strategy: Strategy, _slab: Slab) -> dict[str, WeightSource]:
    """By the name that is declared above."""
    return {"map": Mapped(incremental=strategy.incremental)}


def unmappable(shards: Sequence[Shard]) -> str:
    """Why files can't be mapped as they are; empty when they can."""
    if not _overlays() and not mx.metal.is_available():
        return "MLX's build for this platform has no arrays over memory of others"
    for shard in shards:
        if not shard.aligned(shard.data_start):
            return f"{shard.path.name} is not aligned; `swapbench models repack` writes a copy that is"
    return ""


def _overlays() -> bool:
    """MLX's CPU build on Linux, whose arrays are plain memory of malloc's."""
    return platform.LINUX and not mx.metal.is_available() and mx.default_device().type == mx.DeviceType.cpu


def _overlaid(shard: Shard, mappings: list[_Mapping]) -> dict[str, mx.array]:
    weights: dict[str, mx.array] = {}
    page = mmap.PAGESIZE
    with shard.path.open("rb") as file:
        for group, first, length in _segments(shard, _SEGMENT_BYTES):
            memory, view = unwritten(
                max(length + HUGE_PAGE_BYTES + page, platform.least_mapped_allocation_bytes())
            )
            address = address_of(view)
            # The same offset modulo 2 MiB as in the file, so that large folios are mapped whole.
            at = address + (first - address) % HUGE_PAGE_BYTES
            platform.lay_over(at, length, file.fileno(), first)
            mappings.append(_Mapping(at, length, memory))
            # Byte of `memory` that is the first of the file's data, which may be before the segment.
            begin = at - address + shard.data_start - first
            weights |= views(memory, begin, group)
    return weights


def _segments(shard: Shard, most_bytes: int) -> Iterator[tuple[Sequence[Entry], int, int]]:
    """Neighbours of up to so many bytes together; a larger tensor has a segment of its own.

    Returns:
        The tensors, and where in the file the whole pages that hold them begin, and how long these are.
    """
    tensors, page = shard.tensors, mmap.PAGESIZE
    begin = 0
    for i in range(1, len(tensors) + 1):
        if i == len(tensors) or tensors[i].end - tensors[begin].start > most_bytes:
            first = (shard.data_start + tensors[begin].start) // page * page
            length = -(-(shard.data_start + tensors[i - 1].end - first) // page) * page
            yield tensors[begin:i], first, length
            begin = i


def arrays_over(shard: Shard, mappings: list[_Mapping]) -> dict[str, mx.array]:
    """By mx.asarray(copy=False) over mappings, each of which Metal takes as a buffer without copying it."""
    weights: dict[str, mx.array] = {}
    page, most_bytes = mmap.PAGESIZE, longest_array_bytes()
    with shard.path.open("rb") as file:
        # A buffer of Metal's has whole pages; Python hides the end of a file's last one, which is mapped.
        for group, first, whole in _segments(shard, most_bytes - 2 * page):
            if whole > most_bytes:
                raise UnfitError(
                    f"{group[0].name} of {shard.path.name} is more than one buffer may have, "
                    f"{most_bytes / 1e9:.2f} GB"
                )
            # Shared and not to be written: of a private mapping the kernel copies what the GPU uses.
            length = shard.data_start + group[-1].end - first
            mapping = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=first)
            address = address_of(memoryview(mapping))
            pages = (ctypes.c_uint64 * (whole // 8)).from_address(address)
            pages.mapping = mapping  # type: ignore[attr-defined]  # as long as somebody looks into them
            mappings.append(_Mapping(address, whole, mapping))
            try:
                memory = mx.asarray(np.ctypeslib.as_array(pages), copy=False)
            except ValueError as error:
                raise UnfitError(f"MLX makes no array over a mapped file: {error}") from error
            weights |= views(memory, shard.data_start - first, group)
    return weights


class _Population:
    """Threads that have mappings resident, piece by piece in the order of the mappings."""

    def __init__(self, mappings: Sequence[_Mapping]) -> None:
        # What is mapped stays so while threads go over it, whoever drops the model meanwhile.
        self._mappings = mappings
        self._pieces = [
            (mapping.address + at, min(_POPULATE_BYTES, mapping.length - at))
            for mapping in mappings
            for at in range(0, mapping.length, _POPULATE_BYTES)
        ]
        self._lock = threading.Lock()
        self._error: OSError | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name="populate", daemon=True) for _ in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()
        self._mappings = ()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join()
        self._mappings = ()

    def _work(self) -> None:
        while (piece := self._take()) is not None:
            try:
                platform.populate(*piece)
            except OSError as error:
                self._error = error

    def _take(self) -> tuple[int, int] | None:
        with self._lock:
            return None if self._stopped or self._error or not self._pieces else self._pieces.pop(0)

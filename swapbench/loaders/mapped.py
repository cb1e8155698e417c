"""map: the checkpoint's pages in the page cache are the weights; nothing is copied.

On Metal an array may be made over any page-aligned memory, so over a mapping of an aligned file. MLX's CPU
build has no such call: there the file is laid over the pages of an array that nobody has written to (Linux).
"""

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import mlx.core as mx
import numpy as np

from swapbench.loaders import platform
from swapbench.loaders.arrays import (
    Arrival,
    Shard,
    Source,
    UnfitError,
    address_of,
    longest_array_bytes,
    shards_of,
    unwritten,
    views,
)
from swapbench.loaders.platform import HUGE_PAGE_BYTES
from swapbench.loaders.reading import Threads
from swapbench.loaders.slab import Slab
from swapbench.models.checkpoint import TensorEntry
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


class Mapping(NamedTuple):
    """Pages of a file in memory, as long as `owner` lives."""

    address: int
    length: int
    owner: object


def sources(strategy: Strategy, _slab: Slab) -> dict[str, Source]:
    return {"map": partial(map_files, incremental=strategy.incremental)}


def map_files(checkpoint: Path, *, incremental: bool = False) -> Arrival:
    """Map a checkpoint's files; threads have them resident, piece by piece in the order of the files.

    `incremental`: weights count as there when they are mapped, resident or not.
    """
    shards = shards_of(checkpoint)
    if why := unmappable(shards):
        raise UnfitError(why)
    lay = _overlaid if _overlays() else arrays_over
    weights: dict[str, mx.array] = {}
    mappings: list[Mapping] = []
    for shard in shards:
        weights |= lay(shard, mappings)
    pieces = [
        # What is mapped stays so while threads go over it, whoever drops the model meanwhile.
        Mapping(address + at, min(_POPULATE_BYTES, length - at), owner)
        for address, length, owner in mappings
        for at in range(0, length, _POPULATE_BYTES)
    ]
    population = Threads("populate", _THREADS, pieces, _populate)
    if incremental:
        return Arrival(weights, stop=population.stop)
    return Arrival(weights, population.wait, population.stop)


def _populate(pieces: Iterator[Mapping]) -> None:
    for address, length, _ in pieces:
        platform.populate(address, length)


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


def _overlaid(shard: Shard, mappings: list[Mapping]) -> dict[str, mx.array]:
    weights: dict[str, mx.array] = {}
    with shard.path.open("rb") as file:
        for group, first, length in _segments(shard, _SEGMENT_BYTES):
            room = length + HUGE_PAGE_BYTES + mmap.PAGESIZE
            memory, view = unwritten(max(room, platform.least_mapped_allocation_bytes()))
            address = address_of(view)
            # The same offset modulo 2 MiB as in the file, so that large folios are mapped whole.
            at = address + (first - address) % HUGE_PAGE_BYTES
            platform.lay_over(at, length, file.fileno(), first)
            mappings.append(Mapping(at, length, memory))
            # Byte of `memory` that is the first of the file's data, which may be before the segment.
            weights |= views(memory, at - address + shard.data_start - first, group)
    return weights


def _segments(shard: Shard, most_bytes: int) -> Iterator[tuple[Sequence[TensorEntry], int, int]]:
    """Neighbours of up to so many bytes together (a larger tensor alone), where in the file the whole pages
    begin that hold them, and how long these are."""
    tensors, page = shard.tensors, mmap.PAGESIZE
    begin = 0
    for i in range(1, len(tensors) + 1):
        if i == len(tensors) or tensors[i].end - tensors[begin].start > most_bytes:
            first = (shard.data_start + tensors[begin].start) // page * page
            length = -(-(shard.data_start + tensors[i - 1].end - first) // page) * page
            yield tensors[begin:i], first, length
            begin = i


def arrays_over(shard: Shard, mappings: list[Mapping]) -> dict[str, mx.array]:
    """By mx.asarray(copy=False) over mappings, each of which Metal takes as a buffer without copying it."""
    weights: dict[str, mx.array] = {}
    most_bytes = longest_array_bytes()
    with shard.path.open("rb") as file:
        # A buffer of Metal's has whole pages; Python hides the end of a file's last one, which is mapped.
        for group, first, whole in _segments(shard, most_bytes - 2 * mmap.PAGESIZE):
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
            mappings.append(Mapping(address, whole, mapping))
            try:
                memory = mx.asarray(np.ctypeslib.as_array(pages), copy=False)
            except ValueError as error:
                raise UnfitError(f"MLX makes no array over a mapped file: {error}") from error
            weights |= views(memory, shard.data_start - first, group)
    return weights

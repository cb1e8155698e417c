"""fill: parallel reads into MLX's own unwritten arrays: safe wherever MLX can read from a file object at all.

slab and direct: memory faulted once, in which every model is views. A model lies at one end of the slab and
the next one at the other, so that what lies beside the old one can be read before it goes. `direct` reads
past the page cache.
"""

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import mlx.core as mx

from swapbench.loaders.arrays import (
    Arrival,
    HeldError,
    Shard,
    Source,
    UnfitError,
    address_of,
    longest_array_bytes,
    shards_of,
    unwritten,
    unwritten_shard,
    views,
)
from swapbench.loaders.platform import BLOCK_BYTES, HUGE_PAGE_BYTES, ask_for_huge_pages
from swapbench.loaders.reading import ParallelRead, Transfer, touch
from swapbench.spec.strategy import Strategy

LOADERS: Final = {
    "fill": {
        "cost": "two threads while it reads",
        "avoid": "where slab or map is available",
        "fallback": "stock",
    },
    "slab": {
        "cost": "memory of the largest model, always",
        "avoid": "where small models serve for hours, or models go cold",
        "fallback": "fill",
        "keeps_memory": True,
    },
    "direct": {
        "cost": "memory of the largest model, always",
        "avoid": "where models stay in the page cache: it reads the disk anyhow",
        "fallback": "slab",
        "keeps_memory": True,
    },
}

# Of any two neighbouring files in the slab: room for the alignment of the second.
_SLACK_BYTES: Final = 2 * BLOCK_BYTES


@dataclass(frozen=True)
class _Place:
    """Where a checkpoint lies or will lie: bytes of the slab, and where in it each file's data begins."""

    begin: int
    end: int
    starts: tuple[tuple[Shard, int], ...]

    def transfers(self, memory: memoryview, low: int, high: int) -> list[Transfer]:
        """What has to be read to fill the part of this place that lies between `low` and `high`."""
        transfers = []
        for shard, start in self.starts:
            first, last = max(start, low), min(start + shard.data_bytes, high)
            if first < last:
                offset = shard.data_start + first - start
                transfers.append(Transfer(shard.path, offset, memory[first:last]))
        return transfers


@dataclass
class _Ahead:
    """What is being read while the old model still serves: all of `place` outside `left`."""

    checkpoint: Path
    place: _Place
    reading: ParallelRead
    left: tuple[int, int]


class Slab:
    """Grown to the largest model that has come so far; never smaller."""

    def __init__(self) -> None:
        self._array: mx.array | None = None
        self._memory = memoryview(b"")
        self._base = self._room = 0
        self._place: _Place | None = None
        self._tenants: list[weakref.ref[Any]] = []
        self._ahead: _Ahead | None = None

    @property
    def kept_bytes(self) -> int:
        return self._memory.nbytes

    def reserve(self, length: int) -> None:
        """Have room for models of `length` bytes, every page of it touched.

        Raises HeldError where somebody holds arrays in what has to grow, UnfitError beyond what MLX can have.
        """
        if self._room >= length:
            return
        self._refuse_held()
        most = longest_array_bytes() - HUGE_PAGE_BYTES
        if length > most:
            raise UnfitError(
                f"a slab of {length / 1e9:.2f} GB is more than one buffer may have, {most / 1e9:.2f} GB"
            )
        # In this order: old and new together would be more than anybody expects of it.
        self.drop()
        self._array, memory = unwritten(length + HUGE_PAGE_BYTES)
        address = address_of(memory)
        ask_for_huge_pages(address, memory.nbytes)
        # From here on offsets are addresses modulo any page size.
        self._base = -address % HUGE_PAGE_BYTES
        self._room = length
        self._memory = memory
        touch(memory)

    def drop(self) -> None:
        """Give the slab up; arrays that somebody holds keep it alive."""
        self.stop()
        self._array, self._memory, self._room = None, memoryview(b""), 0
        self._place, self._tenants = None, []

    def begin(self, checkpoint: Path, *, direct: bool) -> Arrival:
        """Start bringing a checkpoint's weights; the model before is gone.

        Raises HeldError where somebody still holds arrays of that, UnfitError where it can't be, OSError.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.checkpoint != checkpoint:
            ahead.reading.stop()
            ahead = None
        try:
            self._refuse_held()
            shards = _fit(checkpoint)
            self.reserve(room_for(shards))
            assert self._array is not None
            place = ahead.place if ahead is not None else self._place_for(shards, direct)
            low, high = ahead.left if ahead is not None else (place.begin, place.end)
            weights: dict[str, mx.array] = {}
            for shard, start in place.starts:
                weights |= views(self._array, start, shard.tensors)
            reading = ParallelRead(place.transfers(self._memory, low, high), direct=direct)
        except BaseException:
            if ahead is not None:
                ahead.reading.stop()
            raise
        self._place, self._tenants = place, []
        self._watch(weights.values())
        readings = (reading,) if ahead is None else (ahead.reading, reading)
        return Arrival(
            weights,
            wait=lambda: _wait(readings),
            stop=lambda: _stop(readings),
            watch=self._watch,
            ahead_bytes=0 if ahead is None else ahead.reading.done_bytes,
        )

    def read_ahead(self, checkpoint: Path, *, direct: bool) -> None:
        """Start reading what has room beside the model that still serves; raises UnfitError, OSError."""
        self.stop()
        shards = _fit(checkpoint)
        if self._array is None or room_for(shards) > self._room:
            return
        place, old = self._place_for(shards, direct), self._place
        free = (place.begin, place.end)
        left = (place.begin, place.begin)
        if old is not None:
            if place.begin >= old.begin and place.begin > 0:
                middle = min(max(old.end, place.begin), place.end)
                left, free = (place.begin, middle), (middle, place.end)
            else:
                middle = max(min(old.begin, place.end), place.begin)
                left, free = (middle, place.end), (place.begin, middle)
        reading = ParallelRead(place.transfers(self._memory, *free), direct=direct)
        self._ahead = _Ahead(checkpoint, place, reading, left)

    def stop(self) -> None:
        """Forget what is being read ahead."""
        if self._ahead is not None:
            self._ahead.reading.stop()
            self._ahead = None

    def _watch(self, tenants: Iterable[Any]) -> None:
        """Until these are gone, nothing overwrites them."""
        self._tenants += [weakref.ref(tenant) for tenant in tenants]

    def _refuse_held(self) -> None:
        held = sum(reference() is not None for reference in self._tenants)
        if held:
            raise HeldError(f"somebody still holds {held} arrays of the model before, in the slab")

    def _place_for(self, shards: Sequence[Shard], direct: bool) -> _Place:
        """At the end of the slab where the model before is not."""
        length = room_for(shards)
        begin = 0
        if self._place is not None and self._place.begin == self._base:
            begin = (self._room - length) // BLOCK_BYTES * BLOCK_BYTES
        at = begin = self._base + begin
        starts = []
        for shard in shards:
            # Whole blocks go straight to where those of the file would lie, if tensors stay aligned that way.
            block = shard.data_start if direct and shard.aligned(shard.data_start) else 0
            at += (block - (at - self._base)) % BLOCK_BYTES
            starts.append((shard, at))
            at += shard.data_bytes
        return _Place(begin, at, tuple(starts))


def sources(_strategy: Strategy, slab: Slab) -> dict[str, Source]:
    return {
        "fill": fill,
        "slab": partial(slab.begin, direct=False),
        "direct": partial(slab.begin, direct=True),
    }


def fill(checkpoint: Path) -> Arrival:
    """Start reading into arrays that MLX owns and frees; nothing is kept between loads."""
    weights: dict[str, mx.array] = {}
    transfers = []
    for shard in shards_of(checkpoint):
        arrays, asked = unwritten_shard(shard)
        expected = sum(array.nbytes for array in arrays.values())
        if sum(target.nbytes for _, target in asked) != expected:
            raise UnfitError("this MLX does not read a file object's tensors straight into their memory")
        weights |= arrays
        for offset, target in asked:
            if target.nbytes >= HUGE_PAGE_BYTES:
                ask_for_huge_pages(address_of(target), target.nbytes)
            transfers.append(Transfer(shard.path, offset, target))
    reading = ParallelRead(transfers)
    return Arrival(weights, reading.wait, reading.stop)


def _wait(readings: Sequence[ParallelRead]) -> None:
    try:
        for reading in readings:
            reading.wait()
    finally:
        # None may go on writing where one has failed.
        _stop(readings)


def _stop(readings: Sequence[ParallelRead]) -> None:
    for reading in readings:
        reading.stop()


def _fit(checkpoint: Path) -> tuple[Shard, ...]:
    """The files of a checkpoint; UnfitError where a tensor is aligned nowhere to its items."""
    shards = shards_of(checkpoint)
    for shard in shards:
        if not shard.aligned(0):
            raise UnfitError(f"tensors of {shard.path.name} are not aligned to their items")
    return shards


def room_for(shards: Sequence[Shard]) -> int:
    """Bytes of slab that files take, wherever their data begin."""
    return sum(shard.data_bytes + _SLACK_BYTES for shard in shards)

"""Safetensors files of random values: finite, small, incompressible; no tensor is held in memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapbench.models.cache import OnBytes

Array = NDArray[Any]
# A tensor's values themselves, or what draws the next of them: as float32, or raw words of the tensor's type.
Values = Array | Callable[[np.random.Generator, int], Array]

_BLOCK_ITEMS: Final = 1 << 22

# The standard deviation that dequantised weights are given.
WEIGHT_STD: Final = 0.02

# The bound that mlx-lm keeps to when it saves a model, headers included.
SHARD_BYTES: Final = 5_000_000_000

# By safetensors' names; numpy has no bfloat16.
_TYPES: Final[dict[str, Any]] = {
    "BF16": np.uint16,
    "F16": np.float16,
    "F32": np.float32,
    "U32": np.uint32,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
}


def normal(mean: float, std: float) -> Values:
    """Normally distributed floats."""
    return lambda rng, count: (
        rng.standard_normal(count, dtype=np.float32) * np.float32(std) + np.float32(mean)
    )


def words(mask: int = 0xFFFFFFFF) -> Values:
    """Random 32-bit words: quantised weights, packed. `mask` clears bits that must not be set."""

    def draw(rng: np.random.Generator, count: int) -> Array:
        # Whole 64-bit words are drawn seven times as fast as 32-bit ones.
        wide = rng.integers(0, 1 << 64, size=-(-count // 2), dtype=np.uint64)
        drawn = wide.view(np.uint32)[:count]
        return drawn if mask == 0xFFFFFFFF else drawn & np.uint32(mask)

    return draw


def scales(bits: int, factor: float = 1.0) -> Values:
    """Scales of affine quantisation, times `factor`; the biases are the same draw with another factor.

    Drawn from a seed that a layer's scales and biases share, bias = -scale * (2**bits - 1) / 2 holds for
    every group, so that evenly distributed codes dequantise to weights around zero.
    """
    code_std = float(np.sqrt((4**bits - 1) / 12))

    def draw(rng: np.random.Generator, count: int) -> Array:
        spread = rng.random(count, dtype=np.float32) + np.float32(0.5)
        return spread * np.float32(factor * WEIGHT_STD / code_std)

    return draw


def centring(bits: int) -> float:
    """What a scale is multiplied by to get its bias."""
    return -((1 << bits) - 1) / 2


def same(value: int, dtype: Any = np.uint8) -> Values:
    """One value everywhere."""
    return lambda _, count: np.full(count, value, dtype=dtype)


def ternary(rng: np.random.Generator, count: int) -> Array:
    """Bytes of four weights of -1, 0 or 1 each, in two bits as 0, 1 or 2."""
    codes = rng.integers(0, 3, size=(4, count), dtype=np.uint8)
    packed: Array = np.bitwise_or.reduce(codes << np.array([[0], [2], [4], [6]], dtype=np.uint8))
    return packed


def blocks(values: Values, dtype: str, count: int, seed: int) -> Iterator[memoryview]:
    """The bytes of a tensor of `count` items of safetensors type `dtype`, a block at a time."""
    if isinstance(values, np.ndarray):
        yield _encoded(values, dtype)
        return
    rng = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, count, _BLOCK_ITEMS):
        yield _encoded(values(rng, min(_BLOCK_ITEMS, count - start)), dtype)


def _encoded(values: Array, dtype: str) -> memoryview:
    if dtype == "BF16":  # the upper half of each float32, rounded to nearest
        bits = values.astype(np.float32, copy=False).view(np.uint32)
        rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        values = rounded >> np.uint32(16)
    return np.ascontiguousarray(values.astype(_TYPES[dtype], copy=False)).data.cast("B")


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: `dtype` as safetensors spells it; `seed_name` is shared by what is drawn alike."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    values: Values
    seed_name: str

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * int(np.dtype(_TYPES[self.dtype]).itemsize)


@dataclass(frozen=True)
class PlannedShard:
    """One file."""

    file_name: str
    tensors: tuple[Tensor, ...]

    @cached_property
    def header(self) -> bytes:
        entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
        end = 0
        for tensor in self.tensors:
            places = [end, end + tensor.nbytes]
            entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": places}
            end = places[1]
        return header(entries)

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


def header(entries: Mapping[str, Any], align_bytes: int = 8) -> bytes:
    """A file's beginning: its length in 8 bytes, names, types, shapes and places as JSON, and spaces up to a
    multiple of `align_bytes`."""
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % align_bytes)
    return len(text).to_bytes(8, "little") + text


def plan(tensors: Iterable[Tensor], limit_bytes: int = SHARD_BYTES) -> tuple[PlannedShard, ...]:
    """Tensors in order, in files of at most `limit_bytes`, unless a single tensor is bigger."""
    groups: list[list[Tensor]] = [[]]
    room_bytes = limit_bytes
    for tensor in tensors:
        # A header entry takes its name and less than 150 characters more.
        taken_bytes = tensor.nbytes + len(tensor.name.encode()) + 150
        if taken_bytes > room_bytes and groups[-1]:
            groups.append([])
            room_bytes = limit_bytes
        groups[-1].append(tensor)
        room_bytes -= taken_bytes
    if len(groups) == 1:
        return (PlannedShard("model.safetensors", tuple(groups[0])),)
    return tuple(
        PlannedShard(f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for number, group in enumerate(groups, start=1)
    )


def write(shards: Iterable[PlannedShard], folder: Path, seed: str, on_bytes: Callable[[int], None]) -> None:
    """Write files and index, synced; `on_bytes` is told of every block. Equal seeds give equal files."""
    shards = tuple(shards)
    for shard in shards:
        with (folder / shard.file_name).open("wb", buffering=0) as file:
            write_all(file.fileno(), shard.header, on_bytes)
            for tensor in shard.tensors:
                digest = hashlib.blake2b(f"{seed}/{tensor.seed_name}".encode(), digest_size=8).digest()
                for block in blocks(
                    tensor.values, tensor.dtype, tensor.count, int.from_bytes(digest, "little")
                ):
                    write_all(file.fileno(), block, on_bytes)
            os.fsync(file.fileno())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index(shards), indent=2), encoding="utf-8"
    )


def index(shards: Iterable[PlannedShard]) -> dict[str, Any]:
    """The contents of model.safetensors.index.json."""
    placed = {tensor.name: (tensor.nbytes, shard.file_name) for shard in shards for tensor in shard.tensors}
    return {
        "metadata": {"total_size": sum(nbytes for nbytes, _ in placed.values())},
        "weight_map": {name: file_name for name, (_, file_name) in sorted(placed.items())},
    }


def write_all(file: int, data: bytes | memoryview, on_bytes: Callable[[int], None]) -> None:
    """Write all of `data` to a descriptor; `on_bytes` is told of every piece that went through."""
    view = memoryview(data)
    while view:
        written = os.write(file, view)
        view = view[written:]
        on_bytes(written)


def counted(total_bytes: int, on_bytes: OnBytes, every_bytes: int = 0) -> Callable[[int], None]:
    """Adds up the bytes of each piece, and says how far it is once `every_bytes` more are done."""
    done_bytes = told_bytes = 0

    def count(more_bytes: int) -> None:
        nonlocal done_bytes, told_bytes
        done_bytes += more_bytes
        if done_bytes - told_bytes >= every_bytes:
            told_bytes = done_bytes
            on_bytes(done_bytes, total_bytes)

    return count

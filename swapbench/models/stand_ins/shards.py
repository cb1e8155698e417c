"""Safetensors files of random values: finite, small, incompressible; no tensor is held in memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_BLOCK_ITEMS: Final = 1 << 22

# The standard deviation that dequantised weights are given.
WEIGHT_STD: Final = 0.02


class Values(Protocol):
    """Where a tensor's values come from."""

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """The next `count` values, as float32 or as the raw words of the tensor's own type."""
        ...


@dataclass(frozen=True)
class Normal:
    """Normally distributed floats."""

    mean: float
    std: float

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        return rng.standard_normal(count, dtype=np.float32) * np.float32(self.std) + np.float32(self.mean)


@dataclass(frozen=True)
class Words:
    """Random 32-bit words: quantised weights, packed. `mask` clears bits that must not be set."""

    mask: int = 0xFFFFFFFF

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        # Whole 64-bit words are drawn seven times as fast as 32-bit ones.
        wide = rng.integers(0, 1 << 64, size=-(-count // 2), dtype=np.uint64)
        words = wide.view(np.uint32)[:count]
        return words if self.mask == 0xFFFFFFFF else words & np.uint32(self.mask)


@dataclass(frozen=True)
class Scales:
    """Scales of affine quantisation, times `factor`; the biases are the same draw with another factor.

    Drawn from a seed that a layer's scales and biases share, bias = -scale * (2**bits - 1) / 2 holds for
    every group, so that evenly distributed codes dequantise to weights around zero.
    """

    bits: int
    factor: float = 1.0

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        code_std = float(np.sqrt((4**self.bits - 1) / 12))
        spread = rng.random(count, dtype=np.float32) + np.float32(0.5)
        return spread * np.float32(self.factor * WEIGHT_STD / code_std)


def centring(bits: int) -> float:
    """What a scale is multiplied by to get its bias."""
    return -((1 << bits) - 1) / 2


@dataclass(frozen=True)
class Same:
    """One value everywhere."""

    value: int

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        return np.full(count, self.value, dtype=np.uint8)


@dataclass(frozen=True)
class ZeroPoints:
    """The middle of 4-bit codes, eight times a word."""

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        return np.full(count, 0x88888888, dtype=np.uint32)


@dataclass(frozen=True)
class Ternary:
    """Bytes of four weights of -1, 0 or 1 each, in two bits as 0, 1 or 2."""

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        codes = rng.integers(0, 3, size=(4, count), dtype=np.uint8)
        shifts = np.array([[0], [2], [4], [6]], dtype=np.uint8)
        packed: Array = np.bitwise_or.reduce(codes << shifts)
        return packed


@dataclass(frozen=True, eq=False)
class Given:
    """Values that the model's class computed itself: frequencies, state matrices and the like."""

    values: Array

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        assert count == self.values.size
        return self.values


def blocks(values: Values, dtype: str, count: int, seed: int) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor of `count` items of safetensors type `dtype`, a block at a time."""
    rng = np.random.Generator(np.random.PCG64(seed))
    if isinstance(values, Given):
        yield _encoded(values.draw(rng, count), dtype)
        return
    for start in range(0, count, _BLOCK_ITEMS):
        yield _encoded(values.draw(rng, min(_BLOCK_ITEMS, count - start)), dtype)


def _encoded(values: Array, dtype: str) -> memoryview:
    if dtype == "BF16":
        values = _bfloat16(values.astype(np.float32, copy=False))
    elif dtype in _NUMPY:
        values = values.astype(_NUMPY[dtype], copy=False)
    return np.ascontiguousarray(values).data.cast("B")


_NUMPY: Final[dict[str, Any]] = {
    "F16": np.float16,
    "F32": np.float32,
    "U32": np.uint32,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
}


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest; numpy has no bfloat16."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


# The bound that mlx-lm keeps to when it saves a model, headers included.
SHARD_BYTES: Final = 5_000_000_000

_ITEM_BYTES: Final = {"BF16": 2, "F16": 2, "F32": 4, "U32": 4, "U8": 1, "I32": 4, "I64": 8}


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
        return self.count * _ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Shard:
    """One file."""

    file_name: str
    tensors: tuple[Tensor, ...]

    @cached_property
    def header(self) -> bytes:
        """The file's beginning: its length in 8 bytes, then names, types, shapes and places as JSON."""
        entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
        offset = 0
        for tensor in self.tensors:
            places = [offset, offset + tensor.nbytes]
            entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": places}
            offset = places[1]
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


def plan(tensors: Iterable[Tensor], limit_bytes: int = SHARD_BYTES) -> tuple[Shard, ...]:
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
    return tuple(Shard(_file_name(n, len(groups)), tuple(group)) for n, group in enumerate(groups, start=1))


def write(shards: Iterable[Shard], folder: Path, seed: str, on_bytes: Callable[[int], None]) -> None:
    """Write files and index, synced; `on_bytes` is told of every block. Equal seeds give equal files."""
    shards = tuple(shards)
    for shard in shards:
        with (folder / shard.file_name).open("wb", buffering=0) as file:
            write_all(file.fileno(), shard.header, on_bytes)
            for tensor in shard.tensors:
                for block in blocks(tensor.values, tensor.dtype, tensor.count, _seed(seed, tensor)):
                    write_all(file.fileno(), block, on_bytes)
            os.fsync(file.fileno())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index(shards), indent=2), encoding="utf-8"
    )


def index(shards: Iterable[Shard]) -> dict[str, Any]:
    """The contents of model.safetensors.index.json."""
    placed = [(tensor, shard) for shard in shards for tensor in shard.tensors]
    return {
        "metadata": {"total_size": sum(tensor.nbytes for tensor, _ in placed)},
        "weight_map": {tensor.name: shard.file_name for tensor, shard in sorted(placed, key=_by_name)},
    }


def _by_name(placed: tuple[Tensor, Shard]) -> str:
    return placed[0].name


def _file_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def write_all(file: int, data: bytes | memoryview, on_bytes: Callable[[int], None]) -> None:
    """Write all of `data` to a descriptor; `on_bytes` is told of every piece that went through."""
    view = memoryview(data)
    while view:
        written = os.write(file, view)
        view = view[written:]
        on_bytes(written)


def _seed(seed: str, tensor: Tensor) -> int:
    digest = hashlib.blake2b(f"{seed}/{tensor.seed_name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")

"""Safetensors files: which tensor goes where, and writing them without holding one in memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Final

from swapbench.models.values import Values, blocks

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

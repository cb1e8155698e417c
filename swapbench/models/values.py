"""Plausible values for tensors of a model that was never trained: finite, small, and incompressible."""

from collections.abc import Iterator
from dataclasses import dataclass
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

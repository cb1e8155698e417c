"""Where each tensor lies in a checkpoint's files."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import mlx.core as mx

from swapbench.loaders.unfit import UnfitError
from swapbench.models.checkpoint import WEIGHTS, Entry, HeaderError, read_layout

# As mx.load reads them: it has no 8-bit floats, and hands out their bytes.
_DTYPES: Final[dict[str, mx.Dtype]] = {
    "BOOL": mx.bool_,
    **dict.fromkeys(("U8", "F8_E4M3", "F8_E8M0"), mx.uint8),
    "I8": mx.int8,
    "U16": mx.uint16,
    "I16": mx.int16,
    "F16": mx.float16,
    "BF16": mx.bfloat16,
    "U32": mx.uint32,
    "I32": mx.int32,
    "F32": mx.float32,
    "U64": mx.uint64,
    "I64": mx.int64,
    "C64": mx.complex64,
}


@dataclass(frozen=True)
class Shard:
    """One safetensors file: `data_start` is where its tensors begin, `tensors` are in the order of bytes."""

    path: Path
    data_start: int
    tensors: tuple[Entry, ...]

    @property
    def data_bytes(self) -> int:
        """Bytes from the first tensor's place to the last one's end."""
        return self.tensors[-1].end if self.tensors else 0

    def aligned(self, at: int) -> bool:
        """Whether every tensor is aligned to its items when the data begins at address `at`."""
        return all((at + entry.start) % dtype_of(entry).size == 0 for entry in self.tensors)


def dtype_of(entry: Entry) -> mx.Dtype:
    """MLX's type of a tensor.

    Raises:
        UnfitError: only mlx-lm knows what to do with it.
    """
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise UnfitError(f"{entry.name} is of type {entry.dtype}")
    return dtype


def shards_of(checkpoint: Path) -> tuple[Shard, ...]:
    """Every weight file of a checkpoint, in the order of names.

    Raises:
        UnfitError: a header can't be read, or a name is there twice; mlx-lm is to say what it makes of it.
        OSError: a file can't be read.
    """
    shards = tuple(_shard(path) for path in sorted(checkpoint.glob(WEIGHTS)))
    names = [entry.name for shard in shards for entry in shard.tensors]
    if not names:
        raise UnfitError(f"{checkpoint} has no tensors")
    if len(set(names)) < len(names):
        raise UnfitError(f"{checkpoint} has tensors of one name in several files")
    return shards


def _shard(path: Path) -> Shard:
    try:
        layout = read_layout(path)
    except HeaderError as error:
        raise UnfitError(f"{path.name} {error}") from None
    for entry in layout.entries:
        dtype_of(entry)
    for entry, following in pairwise(layout.entries):
        if following.start < entry.end:
            raise UnfitError(f"{path.name} has tensors that overlap: {entry.name} and {following.name}")
    return Shard(path, layout.data_start, layout.entries)


def weight_bytes(checkpoint: Path) -> int:
    """Bytes of a checkpoint's tensors.

    Raises:
        UnfitError, OSError: as `shards_of`.
    """
    return sum(shard.data_bytes for shard in shards_of(checkpoint))

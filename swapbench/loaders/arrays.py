"""What loaders share: where tensors lie in files, arrays that nobody has written to, views of them.

MLX hands an array's memory to a file object to be read into (`mx.load` of anything with `readinto`). One that
only remembers where it was asked to write, and says that it did, leaves the array unwritten and known by
its address. The calls are public; what they do together MLX does not promise: loaders are tested bit by bit.
"""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import mlx.core as mx
import numpy as np

from swapbench.compat import device_info
from swapbench.models.checkpoint import WEIGHTS, HeaderError, TensorEntry, read_layout

Span = Callable[[str], AbstractContextManager[None]]


def unmeasured(_name: str) -> AbstractContextManager[None]:
    return nullcontext()


class UnfitError(Exception):
    """A loader can't load this checkpoint here; the message is the reason, as a clause."""


class HeldError(UnfitError):
    """Somebody still holds arrays of the model before, whose memory would be overwritten under him."""


def nothing(*_: Any) -> None:
    """Nothing is under way, and nobody has to know who holds arrays that own their memory."""


@dataclass(frozen=True)
class Arrival:
    """A checkpoint's arrays by name, which must not be evaluated into anything else before `wait` returns.

    `stop` ends what is under way; nobody writes to the arrays any longer when it returns. It is called, too,
    when the model is dropped. `watch` is told of what has been made of the arrays: their memory is not used
    again before that is gone, too.
    """

    weights: dict[str, mx.array]
    wait: Callable[[], None] = nothing
    stop: Callable[[], None] = nothing
    watch: Callable[[Iterable[Any]], None] = nothing
    ahead_bytes: int = 0


# A way to bring a checkpoint's weights, once the model before is gone. It raises UnfitError where it can't
# bring these, or not here, and OSError over a file that can't be read.
Source = Callable[[Path], Arrival]


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
    tensors: tuple[TensorEntry, ...]

    @property
    def data_bytes(self) -> int:
        """Bytes from the first tensor's place to the last one's end."""
        return self.tensors[-1].end if self.tensors else 0

    def aligned(self, at: int) -> bool:
        """Whether every tensor is aligned to its items when the data begins at address `at`."""
        return all((at + entry.start) % dtype_of(entry).size == 0 for entry in self.tensors)


def dtype_of(entry: TensorEntry) -> mx.Dtype:
    """MLX's type of a tensor; UnfitError where only mlx-lm knows what to do with it."""
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise UnfitError(f"{entry.name} is of type {entry.dtype}")
    return dtype


def shards_of(checkpoint: Path) -> tuple[Shard, ...]:
    """Every weight file of a checkpoint, in the order of names.

    Raises OSError, and UnfitError over what mlx-lm is to judge: a header, a name that is there twice.
    """
    shards = []
    for path in sorted(checkpoint.glob(WEIGHTS)):
        try:
            layout = read_layout(path)
        except HeaderError as error:
            raise UnfitError(f"{path.name} {error}") from None
        for entry in layout.entries:
            dtype_of(entry)
        for entry, following in pairwise(layout.entries):
            if following.start < entry.end:
                raise UnfitError(f"{path.name} has tensors that overlap: {entry.name} and {following.name}")
        shards.append(Shard(path, layout.data_start, layout.entries))
    names = [entry.name for shard in shards for entry in shard.tensors]
    if not names:
        raise UnfitError(f"{checkpoint} has no tensors")
    if len(set(names)) < len(names):
        raise UnfitError(f"{checkpoint} has tensors of one name in several files")
    return tuple(shards)


def weight_bytes(checkpoint: Path) -> int:
    """Bytes of a checkpoint's tensors; raises as `shards_of`."""
    return sum(shard.data_bytes for shard in shards_of(checkpoint))


_WORD: Final = 8
# MLX counts the items of an axis in 32 bits, one of them a sign.
_LONGEST_AXIS: Final = (1 << 31) - 1
_MAGIC: Final = b"\x93NUMPY\x01\x00"


def longest_array_bytes() -> int:
    """What one array of ours may have: a buffer of the device's, and words that fit one of MLX's axes."""
    words_bytes = _WORD * _LONGEST_AXIS
    return min(int(device_info().get("max_buffer_length", words_bytes)), words_bytes)


class _Listener(io.RawIOBase):
    """A file whose header is real, and whose data nobody reads: where it should go is kept in `asked`."""

    def __init__(self, header: bytes, size: int) -> None:
        self._header, self._size, self._at = header, size, 0
        self.asked: list[tuple[int, memoryview]] = []

    def readable(self) -> bool:
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        if self._at < len(self._header):
            target[:] = self._header[self._at : self._at + target.nbytes]
        elif target.nbytes:
            self.asked.append((self._at, target))
        self._at += target.nbytes
        return target.nbytes


def unwritten(length: int) -> tuple[mx.array, memoryview]:
    """Memory of at least `length` bytes, as an array of 64-bit words (eight times as many bytes as of bytes)
    and as bytes to write to, which are valid as long as the array is."""
    words = max(1, -(-length // _WORD))
    text = f"{{'descr': '<u8', 'fortran_order': False, 'shape': ({words},), }}".encode()
    text += b" " * (-(len(_MAGIC) + 2 + len(text) + 1) % 64) + b"\n"
    header = _MAGIC + struct.pack("<H", len(text)) + text
    listener = _Listener(header, len(header) + words * _WORD)
    array = mx.load(cast(BinaryIO, listener), format="npy")
    assert isinstance(array, mx.array)
    mx.eval(array)
    return array, memoryview(cast(Any, array)).cast("B")


def unwritten_shard(shard: Shard) -> tuple[dict[str, mx.array], list[tuple[int, memoryview]]]:
    """A file's arrays, each in memory of its own, and where in the file the bytes of each begin."""
    with shard.path.open("rb") as file:
        header = file.read(shard.data_start)
    listener = _Listener(header, shard.data_start + shard.data_bytes)
    arrays = mx.load(cast(BinaryIO, listener), format="safetensors")
    assert isinstance(arrays, dict)
    mx.eval(list(arrays.values()))
    return arrays, listener.asked


def views(memory: mx.array, begin: int, tensors: Sequence[TensorEntry]) -> dict[str, mx.array]:
    """Aligned tensors as views into `memory`, in which their file's data begins at byte `begin`."""
    arrays = {}
    for entry in tensors:
        dtype, at, length = dtype_of(entry), begin + entry.start, entry.end - entry.start
        if not length:
            arrays[entry.name] = mx.zeros(entry.shape, dtype)
            continue
        words = memory[at // _WORD : -(-(at + length) // _WORD)]
        first, rest = divmod(at % _WORD, dtype.size)
        assert rest == 0
        items = words.view(dtype)[first : first + length // dtype.size]
        arrays[entry.name] = items.reshape(entry.shape)
    return arrays


def address_of(memory: memoryview) -> int:
    return int(np.frombuffer(memory, np.uint8).ctypes.data)

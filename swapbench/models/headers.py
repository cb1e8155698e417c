"""The header of a safetensors file, by the rules of mx.load: facts, or a sentence about what is wrong."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

# The format's own bound.
_LONGEST_BYTES: Final = 100_000_000

_METADATA: Final = "__metadata__"
LFS_POINTER: Final = b"version https://git-lfs"
POINTER: Final = "is a pointer of Git LFS, not the file itself"

_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


class HeaderError(ValueError):
    """What is wrong with a file, as a clause that goes on from its name."""


@dataclass(frozen=True)
class Entry:
    """A tensor as its header tells of it; `start` and `end` count from the end of the header, in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def align_bytes(self) -> int:
        """What its place has to be a multiple of for a view of its type: the size of an item.

        1 for types smaller than a byte, and for sizes that are no power of two: nothing has views of those.
        """
        bits = _BITS.get(self.dtype) or 8 * (self.end - self.start) // (prod(self.shape) or 1)
        return bits // 8 if bits in (16, 32, 64, 128) else 1


@dataclass(frozen=True)
class Layout:
    """What a file says before its data: `metadata` as it stands there, None where there is none.

    The tensors are in the order of their bytes, and their places count from `data_start`.
    """

    entries: tuple[Entry, ...]
    metadata: Any
    data_start: int


def read_header(path: Path) -> tuple[Entry, ...]:
    """Every tensor of a file, in the order of their bytes; raises as `read_layout` does."""
    return read_layout(path).entries


def read_layout(path: Path) -> Layout:
    """A file's header. Gaps between tensors, and bytes after the last, are nobody's concern.

    Raises:
        HeaderError: the file is no safetensors file, is cut short, or contradicts itself.
        OSError: it can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if LFS_POINTER.startswith(prefix) and prefix:
            raise HeaderError(POINTER)
        if len(prefix) < 8 or length > size - 8:
            raise HeaderError("is cut short")
        if not 2 <= length <= _LONGEST_BYTES:
            raise HeaderError(f"has a header of {length} bytes, which no safetensors file has")
        text = file.read(length)
    header = _table(text)
    found = [_entry(name, raw) for name, raw in header.items() if name != _METADATA]
    entries = sorted(found, key=lambda entry: (entry.start, entry.end))
    data_bytes = size - 8 - length
    for entry in entries:
        if entry.end > data_bytes:
            raise HeaderError(f"is cut short: {entry.name:.80} ends {entry.end - data_bytes} bytes beyond it")
    return Layout(tuple(entries), header.get(_METADATA), 8 + length)


def _table(text: bytes) -> dict[str, Any]:
    try:
        # MLX reads a text that ends at the first NUL: some writers fill headers up with them.
        header = json.loads(text.split(b"\0", 1)[0])
    except (ValueError, RecursionError):
        raise HeaderError("has a corrupt header: it is not JSON") from None
    if not isinstance(header, dict):
        raise HeaderError("has a corrupt header: it is no table of tensors")
    metadata = header.get(_METADATA)
    texts = metadata.values() if isinstance(metadata, dict) else metadata or ()
    if isinstance(texts, bool | int | float) or not all(isinstance(text, str) for text in texts):
        raise HeaderError("has a __metadata__ that is no table of texts, which MLX refuses")
    return header


def _entry(name: str, raw: Any) -> Entry:
    match raw:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            if all(map(_counts, (*shape, start, end))) and start <= end:
                entry = Entry(name, dtype, tuple(map(int, shape)), int(start), int(end))
                _check_size(entry)
                return entry
    raise HeaderError(f"has a corrupt header: {name:.80} is no tensor")


def _counts(value: Any) -> bool:
    """Whether MLX reads a number as one that counts something; 8.0 is 8."""
    return isinstance(value, int | float) and type(value) is not bool and value >= 0 and value == value // 1


def _check_size(entry: Entry) -> None:
    bits = _BITS.get(entry.dtype)
    if bits is None:  # newer types than these may have any size
        return
    for n in entry.shape:
        bits *= n
        # Python's numbers have no end, and a file's shapes need not have one either.
        if bits > 1 << 70:
            break
    if bits != 8 * (entry.end - entry.start):
        raise HeaderError(f"has a corrupt header: {entry.name:.80} has other bytes than its shape takes")

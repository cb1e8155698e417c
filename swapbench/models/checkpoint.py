"""A checkpoint folder's files: headers by the rules of mx.load, what is missing, and what can't be read.

Whether a checkpoint is whole is for mlx-lm to say (`swapbench.worker.checking`): it never reads an index, and
there are some that name files that have never existed.
"""

import codecs
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from swapbench.instruments.page_cache import weight_files

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
class TensorEntry:
    """A tensor as its header tells of it; `start` and `end` count from the end of the header, in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def align_bytes(self) -> int:
        """What its place has to be a multiple of for a view of its type; 1 for types that nothing views."""
        bits = _BITS.get(self.dtype) or 8 * (self.end - self.start) // (prod(self.shape) or 1)
        return bits // 8 if bits in (16, 32, 64, 128) else 1


@dataclass(frozen=True)
class Layout:
    """What a file says before its data: tensors in the order of their bytes, and `metadata` as it stands."""

    entries: tuple[TensorEntry, ...]
    metadata: Any
    data_start: int


def read_header(path: Path) -> tuple[TensorEntry, ...]:
    """Every tensor of a file, in the order of their bytes; raises as `read_layout` does."""
    return read_layout(path).entries


def read_layout(path: Path) -> Layout:
    """A file's header. Gaps between tensors, and bytes after the last, are nobody's concern.

    HeaderError: the file is no safetensors file, is cut short, or contradicts itself.
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


def _entry(name: str, raw: Any) -> TensorEntry:
    match raw:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            if all(map(_counts, (*shape, start, end))) and start <= end:
                entry = TensorEntry(name, dtype, tuple(map(int, shape)), int(start), int(end))
                # Newer types than these may have any size.
                if dtype in _BITS and _BITS[dtype] * _items(entry.shape) != 8 * (entry.end - entry.start):
                    raise HeaderError(
                        f"has a corrupt header: {name:.80} has other bytes than its shape takes"
                    )
                return entry
    raise HeaderError(f"has a corrupt header: {name:.80} is no tensor")


def _counts(value: Any) -> bool:
    """Whether MLX reads a number as one that counts something; 8.0 is 8."""
    return isinstance(value, int | float) and type(value) is not bool and value >= 0 and value == value // 1


def _items(shape: tuple[int, ...]) -> int:
    """How many, or more than any file has: neither Python's numbers nor a file's shapes have an end."""
    items = 1
    for length in shape:
        items = min(items * length, 1 << 70)
    return items


WEIGHTS: Final = "model*.safetensors"

# What mlx-lm fetches of a repository to load it, but for *.py: swapbench runs no code of a checkpoint.
PATTERNS: Final = (
    *("*.json", WEIGHTS, "tokenizer.model", "*.tiktoken", "tiktoken.model"),
    *("*.txt", "*.jsonl", "*.jinja"),
)

_WITHOUT_MARK: Final = "save it as UTF-8 without"
_INDEX: Final = "model.safetensors.index.json"
_NUMBERED: Final = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "tiktoken.model")


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files; a link counts as what it leads to."""
    return sum(path.stat().st_size for path in weight_files(folder) if path.is_file())


@dataclass(frozen=True)
class Fault:
    """What is wrong with a checkpoint, as a clause, and what mends it; empty where whole files would, which
    `stand_ins.store.advised` says how to get. `incomplete` is what no mlx-lm could load."""

    what: str
    remedy: str = ""
    incomplete: bool = True

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def damaged(folder: Path) -> Fault | None:
    """What keeps any loader from reading a checkpoint's files; None where nothing does."""
    if not (folder / "config.json").is_file():
        return Fault("config.json is missing")
    if config := json_damage(folder / "config.json", "model_type"):
        remedy = "or get it again" if config.endswith(_WITHOUT_MARK) else "get it again"
        return Fault(f"config.json {config}", remedy)
    weights = weight_files(folder)
    if not weights:
        named = missing_files(folder)
        return Fault(f"{named[0]} is missing" if named else f"it has no weights ({WEIGHTS})")
    for path in weights:
        try:
            read_header(path)
        except HeaderError as error:
            return Fault(f"{path.name} {error}")
        except OSError:
            return Fault(f"{path.name} is missing")  # a link to nothing
    return None


def json_damage(file: Path, *names: str) -> str:
    """Why a file is no JSON object with these names, as a clause that goes on from its own; else empty."""
    try:
        content = file.read_bytes()
        if content.startswith(LFS_POINTER):
            return POINTER
        if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return f"begins with a byte order mark: {_WITHOUT_MARK}"
        found = json.loads(content.decode())
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except json.JSONDecodeError as error:
        return f"is no JSON (line {error.lineno} column {error.colno})"
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({error!s:.80})"
    if not isinstance(found, dict):
        return f"is {'a list' if isinstance(found, list) else json.dumps(found)[:20]}, not an object"
    return next((f"names no {name}" for name in names if name not in found), "")


def pointers(folder: Path) -> tuple[str, ...]:
    """Small files of which only Git LFS's pointers are there."""
    small = {file for pattern in PATTERNS if pattern != WEIGHTS for file in folder.glob(pattern)}
    found = []
    for path in sorted(small - {folder / _INDEX}):
        with suppress(OSError), path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                found.append(path.name)
    return tuple(found)


def code_wanted(folder: Path) -> str:
    """That a checkpoint can't be loaded without code of its own, as a clause; empty where it can."""
    code = read_object(folder / "config.json").get("model_file")
    if code is None:
        return ""
    return f"config.json asks for code of the checkpoint's ({code!s:.80}), and none is run"


def looks_whole(folder: Path) -> bool:
    """Whether index, numbers and names agree that nothing is missing of an undamaged checkpoint.

    Where they don't, it may be whole all the same.
    """
    named = any((folder / name).is_file() for name in _TOKENIZERS)
    if not named or missing_files(folder) or pointers(folder):
        return False
    there = {entry.name for path in weight_files(folder) for entry in read_header(path)}
    return set(weight_map(folder)) <= there


def missing_files(folder: Path) -> tuple[str, ...]:
    """Weight files that an index or a numbered series speaks of, and that are not there."""
    there = {path.name for path in weight_files(folder)}
    return tuple(sorted({*weight_map(folder).values(), *missing_of_series(folder)} - there))


def missing_of_series(folder: Path) -> tuple[str, ...]:
    """Weight files that the numbers of the others speak of, and that are not there."""
    there = {path.name for path in weight_files(folder)}
    counts = {int(match[2]) for match in map(_NUMBERED.fullmatch, there) if match}
    named = {f"model-{n:05d}-of-{count:05d}.safetensors" for count in counts for n in range(1, count + 1)}
    return tuple(sorted(named - there))


def weight_map(folder: Path) -> dict[str, str]:
    """The file that an index gives for each tensor; empty where there is no index that can be read."""
    found = read_object(folder / _INDEX).get("weight_map")
    return {str(name): _plain(str(file)) for name, file in found.items()} if isinstance(found, dict) else {}


def _plain(name: str) -> str:
    """An index is somebody else's text: it may name files in the folder, and none elsewhere."""
    return "".join(letter if letter.isprintable() else "?" for letter in Path(name).name)


def read_object(file: Path) -> dict[str, Any]:
    """What a file of JSON holds; empty where that is no object that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}

"""A checkpoint folder's files: what mlx_lm.load would read of it, and which of them can't be read.

Whether a checkpoint is whole is for mlx-lm to say (`swapbench.worker.checking`): it never reads an index, and
there are some that name files that have never existed.
"""

import codecs
import json
import re
from pathlib import Path
from typing import Final

from swapbench.models.headers import LFS_POINTER, POINTER, HeaderError, read_header

WEIGHTS: Final = "model*.safetensors"

# What mlx-lm fetches of a repository to load it, but for *.py: swapbench runs no code of a checkpoint.
PATTERNS: Final = (
    *("*.json", WEIGHTS, "tokenizer.model", "*.tiktoken", "tiktoken.model"),
    *("*.txt", "*.jsonl", "*.jinja"),
)

WITHOUT_MARK: Final = "save it as UTF-8 without"
_INDEX: Final = "model.safetensors.index.json"
_NUMBERED: Final = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "tiktoken.model")


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files; a link counts as what it leads to."""
    return sum(path.stat().st_size for path in folder.glob(WEIGHTS) if path.is_file())


def damage(folder: Path) -> str:
    """What keeps any loader from reading a checkpoint's files, as a clause; empty where nothing does."""
    if not (folder / "config.json").is_file():
        return "config.json is missing"
    if config := json_damage(folder / "config.json", "model_type"):
        return f"config.json {config}"
    weights = sorted(folder.glob(WEIGHTS))
    if not weights:
        named = missing_files(folder)
        return f"{named[0]} is missing" if named else f"it has no weights ({WEIGHTS})"
    for path in weights:
        try:
            read_header(path)
        except HeaderError as error:
            return f"{path.name} {error}"
        except OSError:
            return f"{path.name} is missing"  # a link to nothing
    return ""


def json_damage(file: Path, *names: str) -> str:
    """Why a file is no JSON object with these names, as a clause that goes on from its own; else empty."""
    try:
        content = file.read_bytes()
        if content.startswith(LFS_POINTER):
            return POINTER
        if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return f"begins with a byte order mark: {WITHOUT_MARK}"
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
    return tuple(sorted(file.name for file in small if file.name != _INDEX and _is_pointer(file)))


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def code_wanted(folder: Path) -> str:
    """That a checkpoint can't be loaded without code of its own, as a clause; empty where it can."""
    try:
        code = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_file"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    if code is None:
        return ""
    return f"config.json asks for code of the checkpoint's ({code!s:.80}), and none is run"


def looks_whole(folder: Path) -> bool:
    """Whether index, numbers and names agree that nothing is missing of an undamaged checkpoint.

    Where they don't, it may be whole all the same.
    """
    named = any((folder / name).is_file() for name in _TOKENIZERS)
    contradicted = not named or missing_files(folder) or pointers(folder)
    return not contradicted and set(weight_map(folder)) <= _tensors(folder)


def missing_files(folder: Path) -> tuple[str, ...]:
    """Weight files that an index or a numbered series speaks of, and that are not there."""
    there = {path.name for path in folder.glob(WEIGHTS)}
    return tuple(sorted({*weight_map(folder).values(), *missing_of_series(folder)} - there))


def missing_of_series(folder: Path) -> tuple[str, ...]:
    """Weight files that the numbers of the others speak of, and that are not there."""
    there = {path.name for path in folder.glob(WEIGHTS)}
    counts = {int(match[2]) for match in map(_NUMBERED.fullmatch, there) if match}
    named = {f"model-{n:05d}-of-{count:05d}.safetensors" for count in counts for n in range(1, count + 1)}
    return tuple(sorted(named - there))


def weight_map(folder: Path) -> dict[str, str]:
    """The file that an index gives for each tensor; empty where there is no index that can be read."""
    try:
        found = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        return {str(name): _plain(str(file)) for name, file in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _tensors(folder: Path) -> set[str]:
    return {entry.name for path in folder.glob(WEIGHTS) for entry in read_header(path)}


def _plain(name: str) -> str:
    """An index is somebody else's text: it may name files in the folder, and none elsewhere."""
    return "".join(letter if letter.isprintable() else "?" for letter in Path(name).name)

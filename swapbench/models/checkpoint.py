"""A checkpoint folder as mlx_lm.load sees it: what is in it, and what it lacks."""

import json
import re
from pathlib import Path
from typing import Final

from swapbench.models.headers import HeaderError, read_header

WEIGHTS: Final = "model*.safetensors"

# What mlx-lm fetches of a repository to load it, but for *.py: swapbench runs no code of a checkpoint.
PATTERNS: Final = (
    *("*.json", WEIGHTS, "tokenizer.model", "*.tiktoken", "tiktoken.model"),
    *("*.txt", "*.jsonl", "*.jinja"),
)

_INDEX: Final = "model.safetensors.index.json"
_NUMBERED: Final = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files; a link counts as what it leads to."""
    return sum(path.stat().st_size for path in folder.glob(WEIGHTS) if path.is_file())


def fault(folder: Path) -> str:
    """What is missing or cut short in a checkpoint, as a clause; empty when it is complete."""
    if not (folder / "config.json").is_file():
        return "config.json is missing"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tiktoken.model")):
        return "the tokenizer is missing"
    names = _shard_names(folder)
    if not names:
        return "it has no weights (model*.safetensors)"
    for name in sorted(names):
        try:
            read_header(folder / name)
        except HeaderError as error:
            return f"{name} {error}"
        except OSError:
            return f"{name} is missing"
    return ""


def _shard_names(folder: Path) -> set[str]:
    """The weight files that there have to be: those of the index, and all of a numbered series."""
    names = {path.name for path in folder.glob(WEIGHTS)}
    for match in filter(None, map(_NUMBERED.fullmatch, set(names))):
        count = int(match[2])
        names |= {f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)}
    try:
        weight_map = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        return names | {_plain(str(name)) for name in weight_map.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return names


def _plain(name: str) -> str:
    """An index is somebody else's text: it may name files in the folder, and none elsewhere."""
    return "".join(letter if letter.isprintable() else "?" for letter in Path(name).name)

"""`--set key.path=value`: changes to a parsed TOML file, before anything checks it."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final

from swapbench.errors import UsageError, did_you_mean

_PART: Final = re.compile(r'"([^"]+)"|([^."]+)')


def apply(raw: dict[str, Any], override: str) -> None:
    """Set one value in `raw`, in place.

    Tables are made on the way down; items of an array of tables are found by their name, by what else
    tells them apart (scenario, kind), or by their number.

    Raises:
        UsageError: the override can't be read, or leads nowhere.
    """
    key, separator, text = override.partition("=")
    parts = _split(key.strip())
    if not separator or not parts:
        raise UsageError(
            f"--set {override}: write key.path=value, as in --set rounds=5 or --set workload.agents=4"
        )
    node: Any = raw
    while len(head := _head(node, parts)) < len(parts):
        node = _descend(node, ".".join(head), override)
        parts = parts[len(head) :]
    last = ".".join(parts)
    node[_index(node, last, override) if isinstance(node, list) else last] = _value(text.strip())


def _split(key: str) -> list[str]:
    """The parts of a dotted key, each bare or in double quotes; empty where it is malformed."""
    found = list(_PART.finditer(key))
    if ".".join(match.group(0) for match in found) != key:
        return []
    return [match.group(1) or match.group(2) for match in found]


def _head(node: Any, parts: Sequence[str]) -> Sequence[str]:
    """The parts that name the next key: as many as make a key that is there, so that a name with a dot
    in it (qwen2.5-14b) needs no quotes; else one."""
    there = set(node) if isinstance(node, dict) else {name for item in node for name in _names(item)}
    lengths = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in there)
    return parts[: next(lengths, 1)]


def _descend(node: Any, part: str, override: str) -> Any:
    child = node[_index(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UsageError(f'--set {override}: "{part}" is a value, not a table')
    return child


def _index(items: list[Any], part: str, override: str) -> int:
    for i, item in enumerate(items):
        if part in _names(item):
            return i
    if part.isdecimal() and len(part) < 10 and int(part) < len(items):
        return int(part)
    names = [name for item in items for name in _names(item)]
    hint = did_you_mean(part, names) if names else f"it has {len(items)} items, counted from 0"
    raise UsageError(f'--set {override}: no "{part}" there; {hint}')


def _names(item: Any) -> list[str]:
    """What an item of an array of tables can be called by."""
    if not isinstance(item, dict):
        return []
    return [str(item[key]) for key in ("name", "scenario", "kind") if key in item][:1]


def _value(text: str) -> Any:
    """A TOML value, or the text itself where it is none, so that --set source=mini needs no quotes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError: not TOML, or an integer of more than 4300 digits
        return text
    return parsed["value"] if len(parsed) == 1 else text

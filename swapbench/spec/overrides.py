"""`--set key.path=value`, and options short for it: changes to parsed TOML, before anything checks it."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from swapbench.base.errors import UsageError, did_you_mean

_PART: Final = re.compile(r'"([^"]+)"|([^."]+)')
_SET: Final = "--set"
# Of what was typed; a value may be of any length.
_TOLD: Final = 80


@dataclass(frozen=True)
class Override:
    """`key.path=value`, as text, and the option that it was typed with.

    Args:
        short: whether the option stands for the key, and takes the value alone, as --rounds 5 does.
    """

    text: str
    option: str = _SET
    short: bool = False

    @property
    def name(self) -> str:
        """What a user calls it: `--rounds`, `--set workload.agents`."""
        return self.option if self.short else f"{self.option} {self.text.partition('=')[0].strip():.{_TOLD}}"

    @property
    def typed(self) -> str:
        """How it was typed, or the beginning of that."""
        text = self.text.partition("=")[2] if self.short else self.text
        return f"{self.option} {text:.{_TOLD}}"


def sets(texts: Iterable[str], option: str = _SET) -> list[Override]:
    """What was typed with an option that takes `key.path=value`."""
    return [Override(text, option) for text in texts]


def short_for(key: str, option: str, value: object) -> list[Override]:
    """What was typed with an option that stands for a key; nothing where it was not."""
    return [] if value is None else [Override(f"{key}={value}", option, short=True)]


def apply(raw: dict[str, Any], override: Override) -> tuple[str | int, ...]:
    """Set one value in `raw`, in place; returns where.

    Tables are made on the way down; items of an array of tables are found by their name, by what else
    tells them apart (scenario, kind), or by their number.

    Raises:
        UsageError: the override can't be read, or leads nowhere.
    """
    dotted, separator, text = override.text.partition("=")
    # Each part is bare or in double quotes.
    found = list(_PART.finditer(dotted.strip()))
    parts = [match.group(1) or match.group(2) for match in found]
    if not separator or not parts or ".".join(match.group(0) for match in found) != dotted.strip():
        option = override.option
        raise UsageError(
            f"{override.typed}: write key.path=value, as in {option} rounds=5 or {option} workload.agents=4"
        )
    where: list[str | int] = []
    node: Any = raw
    while len(head := _head(node, parts)) < len(parts):
        where.append(_key(node, ".".join(head), override))
        node = node.setdefault(where[-1], {}) if isinstance(node, dict) else node[where[-1]]
        if not isinstance(node, dict | list):
            raise UsageError(f'{override.name}: "{where[-1]}" is a value, not a table')
        parts = parts[len(head) :]
    where.append(_key(node, ".".join(parts), override))
    node[where[-1]] = _value(text.strip())
    return tuple(where)


def _head(node: Any, parts: Sequence[str]) -> Sequence[str]:
    """The parts that name the next key: as many as make a key that is there, so that a name with a dot
    in it (qwen2.5-14b) needs no quotes; else one."""
    there = set(node) if isinstance(node, dict) else set(chain(*map(_names, node)))
    lengths = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in there)
    return parts[: next(lengths, 1)]


def _key(node: Any, part: str, override: Override) -> str | int:
    if isinstance(node, dict):
        return part
    names = [_names(item) for item in node]
    for i, called in enumerate(names):
        if part in called:
            return i
    if part.isdecimal() and len(part) < 10 and int(part) < len(node):
        return int(part)
    known = list(chain(*names))
    hint = did_you_mean(part, known) if known else f"it has {len(node)} items, counted from 0"
    raise UsageError(f'{override.name}: no "{part}" there; {hint}')


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

"""How the layers of a model differ, as its configuration says it, and the fewest that show all of it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from swapbench.models.dimensions import Kind, integers, of_kind

_USUAL_TURN: Final = 6  # gemma-3's, which its config.json may leave out
_LONGEST_TURN: Final = 16  # models whose layers are each of their own size have no turn at all
_FEWEST: Final = 4
_MOST: Final = 8
_KINDS: Final = 4

# Lists of layers by number, some in text.
_NUMBERED: Final = re.compile(r".*(_idxs?|_layers|layer_ids|_layers_enum)")


def layer_count(table: Mapping[str, Any]) -> int:
    """How many layers a table speaks of; 1 where it doesn't."""
    stated = [value for _, value in of_kind(table, Kind.LAYERS) if type(value) is int]
    named = (table.get(key) for key in ("hybrid_override_pattern", "layers_block_type", "layer_types"))
    return next(iter(stated), 0) or next((len(names) for names in named if names), 1)


def fewer_layers(table: Mapping[str, Any]) -> int:
    """A sixth of the layers, but at least one whole turn of a pattern that mixes kinds of layers.

    Two turns where later layers share keys and values of earlier ones, one of each.
    """
    layers = layer_count(table)
    turn = _turn(table, layers)
    wanted = max(_FEWEST, min(layers // 6, _MOST), turn + 1 if turn > 1 else 1)
    if sharing_layers(table):
        wanted = max(wanted, 2 * turn)
    return min(layers, wanted)


def sharing_layers(table: Mapping[str, Any]) -> int:
    """How many of the last layers take keys and values of earlier ones."""
    return next((value for _, value in of_kind(table, Kind.SHARING_LAYERS) if type(value) is int), 0)


def fewer_sharing(table: Mapping[str, Any], kept: int) -> int:
    """Of `kept` layers as large a part as of all, as far as a whole turn stays that shares nothing."""
    layers = layer_count(table)
    return max(1, min(sharing_layers(table) * kept // layers, kept - min(_turn(table, layers), kept - 1)))


def shorten(table: dict[str, Any], layers: int, kept: int) -> None:
    """Make what says something about each of `layers`, or names some by number, be about the first `kept`."""
    numbered = {key: numbers for key, value in table.items() if (numbers := _numbers(key, value))}
    first = int(any(max(numbers) == layers for numbers in numbered.values()))  # some makers count from 1
    for key, value in table.items():
        if _by_layer(key, value, layers):
            table[key] = value[:kept]
        elif key in numbered:
            left = [number for number in numbered[key] if number < kept + first]
            table[key] = ",".join(map(str, left)) if isinstance(value, str) else left


def _by_layer(key: str, value: Any, layers: int) -> bool:
    """Whether a value says something of each layer: an item of a list, or a letter of a pattern."""
    patterned = isinstance(value, str) and "pattern" in key
    return (isinstance(value, list) or patterned) and len(value) == layers > 1


def _turn(table: Mapping[str, Any], layers: int) -> int:
    """After how many layers each kind of layer has been."""
    turns = [turn for turn in _turns(table, layers) if turn <= _LONGEST_TURN]
    if isinstance(table.get("sliding_window"), int) and not turns:
        turns = [_USUAL_TURN]
    return max(turns, default=1)


def _turns(table: Mapping[str, Any], layers: int) -> Iterator[int]:
    for value in (value for _, value in of_kind(table, Kind.INTERVAL)):
        if type(value) is int and value <= layers:
            yield value
        elif isinstance(value, str) and len(value) != layers:
            yield len(value)
    for value in (value for _, value in of_kind(table, Kind.DENSE_LAYERS)):
        if value:
            yield 2
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _turns(value, layers)
        elif _by_layer(key, value, layers):
            yield from _first_of_each(value)
        elif numbers := _numbers(key, value):
            missing = next((number for number in range(1, layers + 1) if number not in numbers), 0)
            yield 1 + max(min(numbers), missing)
        elif isinstance(value, list) and key.endswith("block_types"):
            yield len(value)


def _first_of_each(kinds: list[Any] | str) -> Iterator[int]:
    """How many items it takes to have one of each kind; none where they are numbers, each its own."""
    first: dict[str, int] = {}
    for number, kind in enumerate(kinds):
        if not isinstance(kind, float):
            first.setdefault(json.dumps(kind), number)
    if 0 < len(first) <= _KINDS:
        yield 1 + max(first.values())


def _numbers(key: str, value: Any) -> list[int]:
    if not _NUMBERED.fullmatch(key):
        return []
    if isinstance(value, str) and re.fullmatch(r"\d+(,\d+)*", value):
        return [int(number) for number in value.split(",")]
    return integers(value) if isinstance(value, list) else []

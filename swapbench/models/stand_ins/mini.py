"""A model's configuration scaled down: the same architecture, small enough to swap in a moment."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import gcd
from typing import Any, Final

from swapbench.models.stand_ins.dimensions import (
    KV_OF,
    Kind,
    fewer_layers,
    fewer_sharing,
    foreign,
    integers,
    is_part_of_more,
    kind_of,
    layer_count,
    of_kind,
    other_senses,
    sharing_layers,
    shorten,
    state_heads,
)
from swapbench.models.stand_ins.tokenizer import Vocabulary, renumbered

_HEADS: Final = 4
_RANKS: Final = 2  # of a sharded target: each needs whole KV heads
_AWQ_GROUP: Final = 128  # where a config leaves it out
_LARGEST_GROUP: Final = 4096
_BLOCK: Final = 32  # the largest of mlx-lm's formats for blocks
_BLOCK_METHODS: Final = ("mxfp4", "mxfp8", "fp8", "compressed-tensors", "modelopt")

# Of the kinds that no other number follows from.
_MOST: Final = {
    Kind.EXPERTS: 8,
    Kind.CHOSEN_EXPERTS: 2,
    Kind.EXPERT_GROUPS: 2,
    Kind.HEADS_EACH: 2,
    Kind.DENSE_LAYERS: 1,
    Kind.WINDOW: 32,  # short, so that windows rotate within a few tokens
    Kind.COPIES: 2,
}

# Tables that are not scaled with what is around them.
_OTHERS: Final = ("text_config", "quantization", "quantization_config")


def mini_config(config: Mapping[str, Any], full: Vocabulary, small: Vocabulary) -> dict[str, Any]:
    """The configuration of the mini model, for the vocabulary `small` in place of `full`.

    Kept: the class, the ratio of query to KV heads (as far as that leaves two KV heads) and of MLP to hidden
    size, the layers' pattern, quantisation, tied or untied embeddings. Every linear layer's input stays a
    whole number of quantisation groups, also when two ranks share the model, where they can share the real
    one. What describes pictures and sound goes.
    """
    towers = other_senses(config)
    scaled = {key: deepcopy(value) for key, value in config.items() if key not in towers}
    if is_part_of_more(config):
        scaled.pop("architectures", None)  # servers would look for the towers by that name
    if scaled.get("quantization"):
        scaled.pop("quantization_config", None)
    group_size = _group_size(config)
    for table in (scaled, scaled.get("text_config")):
        if isinstance(table, dict):
            _scale(table, group_size)
            for key, _ in list(of_kind(table, Kind.VOCABULARY)):
                table[key] = small.size
            for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
                if key in table:
                    table[key] = renumbered(table[key], full, small)
    if "audio_config" in towers and scaled["model_type"] == "muse_spark":
        # transformers compares the two widths, with a default of its own where the file says nothing.
        scaled["audio_config"] = {"out_hidden_size": scaled["text_config"]["hidden_size"]}
    return scaled


def mini_dtype(config: Mapping[str, Any], dtype: str) -> str:
    """float32 where weights are quantised or there are experts, else as it was.

    MLX's CPU build multiplies quantised weights eight times as fast in float32 as in bfloat16, and forty
    times as fast as in float16; and chosen experts' weights in float32 alone.
    """
    return "float32" if _group_size(config) or _has_experts(config) else dtype


def _has_experts(table: Mapping[str, Any]) -> bool:
    tables = [value for value in table.values() if isinstance(value, dict)]
    return any(value for _, value in of_kind(table, Kind.EXPERTS)) or any(map(_has_experts, tables))


def _group_size(config: Mapping[str, Any]) -> int:
    """The largest group of weights that share a scale, layers with groups of their own included.

    0 for what is no group's size, which mlx-lm refuses when it comes to that.
    """
    quantization = config.get("quantization")
    table = foreign(config)
    method = table.get("quant_method")
    sizes: list[Any] = []
    if isinstance(quantization, dict):
        tables = [quantization, *(entry for entry in quantization.values() if isinstance(entry, dict))]
        sizes = [entry.get("group_size") for entry in tables]
    elif method in ("awq", "gptq"):
        sizes = [table.get("group_size", _AWQ_GROUP)]
    elif method in _BLOCK_METHODS and (method != "fp8" or table.get("scale_fmt") == "ue8m0"):
        sizes = [_BLOCK]  # other fp8 is loaded as floats
    return max((size for size in sizes if type(size) is int and 0 < size <= _LARGEST_GROUP), default=0)


@dataclass(frozen=True)
class _Scale:
    """What a model's main numbers are and become, for others to follow; 0 for what is left to the class."""

    unit: int
    hidden: tuple[int, int]
    heads: tuple[int, int]
    kv_heads: int
    head_dim: tuple[int, int]
    rotated: tuple[int, int]  # of a head, where RoPE has not to do with all of it
    layers: tuple[int, int]
    sharing: int
    experts: bool


def _scale(table: dict[str, Any], group_size: int) -> None:
    hidden = next((value for _, value in of_kind(table, Kind.HIDDEN) if type(value) is int), None)
    if hidden is None:
        return
    unit = max(64, group_size)
    small_dim = unit if group_size else 32
    heads, kv_heads = _main_heads(table)
    small_heads, small_kv_heads = _heads(heads, kv_heads) if heads else (_HEADS, _HEADS)
    stated = (table.get(name) for name in ("head_dim", "kv_channels", "hidden_size_per_head"))
    head_dim = next((size for size in stated if type(size) is int), hidden // heads if heads else 0)
    part = table.get("qk_rope_head_dim")
    layers = fewer_layers(table)
    scale = _Scale(
        unit=unit,
        hidden=(hidden, small_heads * small_dim),
        heads=(heads, small_heads),
        kv_heads=small_kv_heads,
        head_dim=(head_dim, small_dim),
        rotated=(part, _head_size(part, head_dim, small_dim)) if type(part) is int else (head_dim, small_dim),
        layers=(layer_count(table), layers),
        sharing=fewer_sharing(table, layers) if sharing_layers(table) else 0,
        experts=_has_experts(table),
    )
    _scale_table(table, scale)


def _main_heads(table: Mapping[str, Any]) -> tuple[int, int]:
    """Query and KV heads, of the first layer where layers differ; 0 where they are left to the class."""
    for key, value in of_kind(table, Kind.HEADS):
        if (heads := integers(value)) and key not in state_heads(table):
            kv_heads = integers(_partner(table, key)) or heads
            return heads[0], kv_heads[0]
    return 0, 0


def _partner(table: Mapping[str, Any], key: str) -> Any:
    """The KV heads that go with the query heads called `key`; a table within the table may have them."""
    tables = (table, *(value for value in table.values() if isinstance(value, dict)))
    return next((t[name] for t in tables for name in KV_OF.get(key, ()) if t.get(name)), None)


def _heads(heads: int, kv_heads: int) -> tuple[int, int]:
    ratio = min(_HEADS, max(1, heads // kv_heads))
    small_kv_heads = max(1, min(kv_heads, round(_HEADS / ratio)))
    if kv_heads % _RANKS == 0 and small_kv_heads % _RANKS:
        small_kv_heads, ratio = _RANKS, _HEADS // _RANKS
    return small_kv_heads * ratio, small_kv_heads


def _scale_table(table: dict[str, Any], scale: _Scale) -> None:
    """Scale a table's numbers, and those of the tables in it."""
    shorten(table, *scale.layers)
    full = dict(table)
    for key, value in full.items():
        kind = kind_of(key)
        if isinstance(value, dict) and key not in _OTHERS:
            _scale_table(value, scale)
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            for item in value:
                _scale_table(item, scale)
        elif key in ("partial_rotary_factor", "partial_rotary_factors", "rotary_pct"):
            table[key] = _each(value, partial(_rotated_part, size=scale.head_dim[1]))
        elif isinstance(value, list) and key.endswith("_factor"):  # of RoPE, one for each pair in a head
            table[key] = value[: max(1, len(value) * scale.rotated[1] // max(1, scale.rotated[0]))]
        elif kind is not None and integers(value):
            table[key] = _each(value, partial(_scaled, kind, scale=scale))
    _scale_heads(full, table, scale)
    _scale_state(full, table, scale)
    if any(max(integers(value)) > 1 for _, value in of_kind(full, Kind.EXPERT_GROUPS)):
        table |= {key: 1 for key, _ in of_kind(full, Kind.CHOSEN_GROUPS)}
    if "query_pre_attn_scalar" in table:
        table["query_pre_attn_scalar"] = scale.head_dim[1]


def _scaled(kind: Kind, value: int, scale: _Scale) -> int:
    match kind:
        case Kind.LAYERS:
            return scale.layers[1]
        case Kind.SHARING_LAYERS:
            return scale.sharing
        case Kind.HIDDEN:
            return scale.hidden[1]
        case Kind.HEAD_SIZE:
            return _head_size(value, *scale.head_dim)
        case Kind.WIDTH if value == scale.hidden[0]:
            return scale.hidden[1]
        case Kind.WIDTH if value and scale.experts:  # as many times over as there are experts
            return 2 * scale.unit
        case Kind.WIDTH if value:
            full, small = scale.hidden
            return max(2 * scale.unit, _rounded_up(value * (small / full), 2 * scale.unit))
    return min(value, _MOST.get(kind, value))


def _head_size(value: int, full: int, small: int) -> int:
    """As many times the small head as it is the full one's; what is smaller than that stays so."""
    if not full:
        return value
    return small * round(value / full) if value >= full else min(value, small)


def _rotated_part(part: Any, size: int) -> Any:
    """The part of a head of `size` that is rotated, in whole pairs."""
    if not isinstance(part, int | float) or not 0 <= part <= 1:
        return part
    return max(2, 2 * round(part * size / 2)) / size


def _scale_heads(full: Mapping[str, Any], table: dict[str, Any], scale: _Scale) -> None:
    """Query heads with the KV heads that belong to them, layer by layer where layers differ."""
    heads, small_heads = scale.heads
    for key, value in of_kind(full, Kind.KV_HEADS):
        if heads:  # of a table whose query heads are elsewhere
            table[key] = _each(value, lambda kv_heads: gcd(_heads(heads, kv_heads)[1], small_heads))
    for key, value in of_kind(full, Kind.HEADS):
        if key in state_heads(full):
            continue
        if key not in KV_OF:  # of layers that share the main table's KV heads
            table[key] = _each(value, lambda own: _rounded_up(own * small_heads / heads, scale.kv_heads))
            continue
        queries, kv_heads = integers(value), integers(_partner(full, key)) or integers(value)
        if len(queries) != len(kv_heads):  # one number for all layers, and the other a layer's own
            table[key] = _each(value, lambda _: small_heads)
            continue
        pairs = [_heads(*pair) for pair in zip(queries, kv_heads, strict=True)]
        table[key] = [query for query, _ in pairs] if isinstance(value, list) else pairs[0][0]
        for name in KV_OF[key]:
            if name in full:
                table[name] = [kv for _, kv in pairs] if isinstance(full[name], list) else pairs[0][1]


def _each(value: Any, scaled: Callable[[Any], Any]) -> Any:
    return [scaled(item) for item in value] if isinstance(value, list) else scaled(value)


def _scale_state(full: Mapping[str, Any], table: dict[str, Any], scale: _Scale) -> None:
    """Heads of layers that keep a state, so that all of them are as wide for the hidden size as they were."""
    hidden, small_hidden = scale.hidden
    for key, size in state_heads(full).items():
        width = full[key] * full[size]
        heads = max(1, round(width * small_hidden / (hidden * table[size])))
        table[key] = heads
        for name, value in of_kind(full, Kind.STATE_GROUPS):
            table[name] = gcd(heads, min(value, 2)) if type(value) is int else value
        for name, value in of_kind(full, Kind.WIDTH):
            if value == width:
                table[name] = heads * table[size]


def _rounded_up(value: float, unit: int) -> int:
    return -(-round(value) // unit) * unit

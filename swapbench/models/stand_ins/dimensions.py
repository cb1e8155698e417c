"""What the numbers of a config.json count, by the names that makers give them; how layers differ."""

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import chain
from typing import Any, Final

# Which KV heads belong to which query heads; maker and class agree on no name.
KV_OF: Final = {
    "num_attention_heads": ("num_key_value_heads", "num_attention_groups"),
    "swa_num_attention_heads": ("swa_num_key_value_heads",),
    "num_swa_attention_heads": ("num_swa_key_value_heads",),
    "num_query_heads": ("num_kv_heads",),
    "num_heads": ("num_kv_heads",),
    "n_heads": ("kv_n_heads",),
    "n_head": ("n_kv_heads",),
}


class Kind(Enum):
    """What a number counts or measures, and by which names."""

    VOCABULARY = r"vocab_size|num_vocab|vocab_size_per_layer_input"
    LAYERS = r"num_(hidden_|transformer_)?layers|n_layers?"
    SHARING_LAYERS = r"num_kv_(shared|reuse)_layers"  # that take keys and values from earlier ones
    DENSE_LAYERS = r"first_k_dense_replace|num_dense_layers|moe_layer_start_index"  # before experts
    INTERVAL = (  # of layers: after as many the pattern of kinds begins again
        r".*(_interval|_period|_pattern|layer_freq|_step|every_n_layers)|layer_group_size|cla_share_factor|"
        r"attn_res_block_size"
    )
    HEADS = "|".join((*KV_OF, "num_attention_heads_per_layer"))
    KV_HEADS = "|".join(("num_global_key_value_heads", *chain(*KV_OF.values())))
    STATE_GROUPS = r"(mamba_)?n_groups"  # of heads of layers without attention
    HEADS_EACH = r"n_heads_in_group|n_shared_head|o_groups"  # that share something
    HEAD_SIZE = (
        r".*head_dim|kv_channels|hidden_size_per_head|mamba_d_head|rotary_dim|(ssm_)?state_size|mamba_d_state"
    )
    EXPERTS = r"(num|n)_(local_|routed_)?experts|moe_num_experts|zero_expert_num"
    CHOSEN_EXPERTS = r"num_experts_per_tok(en)?|moe_(top_?)?k|top_k_experts"
    EXPERT_GROUPS = r"n_group|num_expert_group"
    CHOSEN_GROUPS = r"topk_group"
    HIDDEN = r"hidden_size|hidden_dim|d_model|n_embd|model_dim|block_dim"
    WIDTH = (  # within a layer: of an MLP, of a projection to a low rank
        r".*(intermediate_size(_mlp)?|hidden_size(_per_layer_input)?|lora_rank|low_rank_dim)|moe_latent_size|"
        r"block_ff_dim|n_inner|laurel_rank|mamba_d_ssm|mamba_dt_rank|time_step_rank|share_expert_dim|dim_model_base"
    )
    WINDOW = r"sliding_window(_size)?|(attention_)?window_size|attention_chunk_size"
    COPIES = r"ngram_vocab_size_ratio"  # of the vocabulary, in tables of n-grams


# Heads of layers that keep a state instead of keys and values, and of indexers, and the size of each.
_STATE_HEADS: Final = {
    "linear_num_key_heads": ("linear_key_head_dim",),
    "linear_num_value_heads": ("linear_value_head_dim",),
    "mamba_n_heads": ("mamba_d_head",),
    "mamba_num_heads": ("mamba_head_dim", "hidden_size_per_head"),
    "index_n_heads": ("index_head_dim",),
}

_VISION: Final = re.compile(r"(vision|visual|vit|image|video|audio|speech)_(config|tower_config)")


def kind_of(key: str) -> Kind | None:
    """What the number under `key` means; None for all that is no dimension."""
    return next((kind for kind in Kind if re.fullmatch(kind.value, key)), None)


def of_kind(table: Mapping[str, Any], *kinds: Kind) -> Iterator[tuple[str, Any]]:
    """The keys of a table that are of one of `kinds`, with their values."""
    return ((key, value) for key, value in table.items() if kind_of(key) in kinds and value is not None)


def state_heads(table: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a table that count heads with a state, and for each the key of their size."""
    named = dict(_STATE_HEADS)
    if "state_size" in table:
        named["num_heads"] = ("head_dim",)
    counted = {key: sizes for key, sizes in named.items() if type(table.get(key)) is int}
    found = {
        key: [s for s in sizes if type(table.get(s)) is int and table[s]] for key, sizes in counted.items()
    }
    return {key: sizes[0] for key, sizes in found.items() if sizes}


def integers(value: Any) -> list[int]:
    """A whole number, or a list's, one a layer: as a list; empty for anything else."""
    values = value if isinstance(value, list) else [value]
    whole = [item for item in values if type(item) is int]
    return whole if len(whole) == len(values) else []


def merged(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config and of its text_config, the one place where classes nest text, as one table."""
    text = config.get("text_config")
    return {**(text if isinstance(text, Mapping) else {}), **config}


def foreign(config: Mapping[str, Any]) -> dict[str, Any]:
    """The quantization_config that decides, where no MLX quantisation does; empty where there is none."""
    table = merged(config).get("quantization_config") if config.get("quantization") is None else None
    return table if isinstance(table, dict) else {}


def other_senses(config: Mapping[str, Any]) -> list[str]:
    """The keys under which a config describes a tower for pictures or sound, which mlx-lm doesn't load."""
    return [key for key, value in config.items() if _VISION.fullmatch(key) and value]


def is_part_of_more(config: Mapping[str, Any]) -> bool:
    """Whether text is one of several things that a model takes, whether or not the towers are described."""
    return "text_config" in config or bool(other_senses(config))


def vocabulary_size(config: Mapping[str, Any]) -> Any:
    """Tokens, as the config says; None where it doesn't."""
    table = merged(config)
    return table.get("vocab_size", table.get("num_vocab"))


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
            # Where each kind comes first; numbers are no kinds, each is its own.
            kinds = [(json.dumps(kind), i) for i, kind in enumerate(value) if not isinstance(kind, float)]
            first = dict(reversed(kinds))
            if 0 < len(first) <= _KINDS:
                yield 1 + max(first.values())
        elif numbers := _numbers(key, value):
            missing = next((number for number in range(1, layers + 1) if number not in numbers), 0)
            yield 1 + max(min(numbers), missing)
        elif isinstance(value, list) and key.endswith("block_types"):
            yield len(value)


def _numbers(key: str, value: Any) -> list[int]:
    if not _NUMBERED.fullmatch(key):
        return []
    if isinstance(value, str) and re.fullmatch(r"\d+(,\d+)*", value):
        return [int(number) for number in value.split(",")]
    return integers(value) if isinstance(value, list) else []

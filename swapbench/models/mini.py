"""A model's configuration scaled down: the same architecture, small enough to swap in a moment."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from swapbench.models.vocabulary import Vocabulary, renumbered

_HEADS: Final = 4
_RANKS: Final = 2  # of a sharded target: each needs whole KV heads
_SLIDING_WINDOW: Final = 32  # short, so that windows rotate within a few tokens
_EXPERTS: Final = 8
_USUAL_TURN: Final = 6  # gemma-3's, which its config.json may leave out


def mini_config(config: Mapping[str, Any], full: Vocabulary, small: Vocabulary) -> dict[str, Any]:
    """The configuration of the mini model, for the vocabulary `small` in place of `full`.

    Kept: the class, the ratio of query to KV heads (as far as that leaves two KV heads) and of MLP to hidden
    size, the layers' pattern, quantisation, tied or untied embeddings. Every linear layer's input stays a
    whole number of quantisation groups, also when two ranks share the model, where they can share the real
    one.
    """
    scaled = deepcopy(dict(config))
    quantization = scaled.get("quantization")
    group_size = quantization["group_size"] if isinstance(quantization, dict) else 0
    if isinstance(quantization, dict):
        # Overrides by layer name are of layers that may not be there any more.
        scaled["quantization"] = {k: v for k, v in quantization.items() if not isinstance(v, dict | bool)}
    for table in (scaled, scaled.get("text_config")):
        if isinstance(table, dict):
            _scale(table, group_size)
            if "vocab_size" in table:
                table["vocab_size"] = small.size
            for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
                if key in table:
                    table[key] = renumbered(table[key], full, small)
    scaled.pop("quantization_config", None)
    return scaled


def mini_dtype(config: Mapping[str, Any], dtype: str) -> str:
    """float32 where weights are quantised, else as it was.

    MLX's CPU build multiplies quantised weights eight times as fast in float32 as in bfloat16, and forty
    times as fast as in float16.
    """
    return "float32" if config.get("quantization") else dtype


def _scale(table: dict[str, Any], group_size: int) -> None:
    if "hidden_size" not in table:
        return
    unit = max(64, group_size)
    hidden = int(table["hidden_size"])
    _scale_heads(table, head_dim=unit if group_size or hidden >= 2048 else 32)
    per_hidden = table["hidden_size"] / hidden
    for key in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
        if isinstance(table.get(key), int):
            table[key] = max(2 * unit, _rounded_up(table[key] * per_hidden, 2 * unit))
    _scale_layers(table)
    for key, most in (("sliding_window", _SLIDING_WINDOW), ("num_experts", _EXPERTS)):
        if isinstance(table.get(key), int):
            table[key] = min(table[key], most)
    if isinstance(table.get("num_experts_per_tok"), int):
        table["num_experts_per_tok"] = min(table["num_experts_per_tok"], 2)


def _scale_heads(table: dict[str, Any], head_dim: int) -> None:
    if "num_attention_heads" not in table:  # left to the class, with its own head size
        table["hidden_size"] = _HEADS * head_dim
        return
    heads = int(table["num_attention_heads"])
    kv_heads = int(table.get("num_key_value_heads") or heads)
    ratio = heads // kv_heads
    small_kv_heads = max(1, min(kv_heads, round(_HEADS / ratio)))
    if kv_heads % _RANKS == 0 and small_kv_heads % _RANKS:
        small_kv_heads, ratio = _RANKS, _HEADS // _RANKS
    small_heads = small_kv_heads * ratio
    table["hidden_size"] = small_heads * head_dim
    table["num_attention_heads"] = small_heads
    if "num_key_value_heads" in table:
        table["num_key_value_heads"] = small_kv_heads
    if isinstance(table.get("head_dim"), int):
        table["head_dim"] = head_dim
    if "query_pre_attn_scalar" in table:
        table["query_pre_attn_scalar"] = head_dim


def _scale_layers(table: dict[str, Any]) -> None:
    """A sixth of the layers, but at least one whole turn of a pattern that mixes kinds of layers."""
    layers = int(table.get("num_hidden_layers", 1))
    windowed = isinstance(table.get("sliding_window"), int)
    turn = int(table.get("sliding_window_pattern") or (_USUAL_TURN if windowed else 1))
    kinds = table.get("layer_types")
    if isinstance(kinds, list) and kinds:
        turn = max(turn, 1 + max(kinds.index(kind) for kind in set(kinds)))
    small = min(layers, max(4, layers // 6, turn + 1 if turn > 1 else 1))
    table["num_hidden_layers"] = small
    if isinstance(kinds, list):
        table["layer_types"] = kinds[:small]


def _rounded_up(value: float, unit: int) -> int:
    return -(-round(value) // unit) * unit

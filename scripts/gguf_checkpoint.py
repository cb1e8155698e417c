"""A GGUF of a llama or gemma3 model as a Hugging Face checkpoint: config, bfloat16 weights, fast tokenizer.

GGUF stores what llama.cpp computes with; where that is another form than transformers', it is turned back.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

_LAYER: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS: Final = {
    "llama": {"ffn_norm": "post_attention_layernorm"},
    "gemma3": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}
_CONTROL_TOKEN: Final = 3  # LLAMA_TOKEN_TYPE_CONTROL


def convert(source: Path, out: Path) -> None:
    """Write the checkpoint into the folder `out`, which is there and empty. Needs the package gguf."""
    import gguf

    reader = gguf.GGUFReader(source)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    kind = fields["general.architecture"]
    config = _config(kind, fields)
    weights = {
        _hf_name(tensor.name, kind): _values(
            gguf.quants.dequantize(tensor.data, tensor.tensor_type), tensor.name, kind, config
        )
        for tensor in reader.tensors
    }
    mx.save_safetensors(str(out / "model.safetensors"), weights, {"format": "mlx"})
    _tokenizer(kind, fields).save(str(out / "tokenizer.json"))
    _write_json(out / "config.json", config)
    _write_json(out / "tokenizer_config.json", _tokenizer_config(kind, fields))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    def of(key: str, default: Any = None) -> Any:
        return fields.get(f"{kind}.{key}", default)

    heads = of("attention.head_count")
    config = {
        "architectures": ["LlamaForCausalLM" if kind == "llama" else "Gemma3ForCausalLM"],
        "model_type": "llama" if kind == "llama" else "gemma3_text",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("attention.key_length", of("embedding_length") // heads),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_theta": of("rope.freq_base"),
        "max_position_embeddings": of("context_length"),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
    }
    if kind == "gemma3":
        config |= {
            "rope_local_base_freq": 10000.0,
            "sliding_window": of("attention.sliding_window"),
            "sliding_window_pattern": 6,
            "query_pre_attn_scalar": config["head_dim"],
        }
    return config


def _hf_name(name: str, kind: str) -> str:
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, rest = name.split(".")
    return f"model.layers.{layer}.{(_LAYER | _NORMS[kind])[part]}.{rest}"


def _values(values: Any, name: str, kind: str, config: Mapping[str, Any]) -> mx.array:
    values = values.astype(np.float32)
    if kind == "gemma3" and "norm" in name:
        values = values - 1  # GGUF holds 1 + weight
    if kind == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = config["num_attention_heads" if ".attn_q." in name else "num_key_value_heads"]
        # GGUF interleaves the two halves of a head for its rotary embedding.
        values = values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
    return mx.array(values).astype(mx.bfloat16)


def _tokenizer(kind: str, fields: Mapping[str, Any]) -> Tokenizer:
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    if kind == "llama":
        tokenizer = _byte_level(tokens, fields["tokenizer.ggml.merges"])
    else:
        tokenizer = _sentencepiece(tokens, fields["tokenizer.ggml.scores"])
        bos = fields["tokenizer.ggml.bos_token_id"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A", special_tokens=[(tokens[bos], bos)]
        )
    special = [token for token, type_ in zip(tokens, types, strict=True) if type_ == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def _byte_level(tokens: Sequence[str], merges: Sequence[str]) -> Tokenizer:
    pairs = [(left, right) for left, right in (merge.split(" ", 1) for merge in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(tokens: Sequence[str], scores: Sequence[float]) -> Tokenizer:
    """Gemma's: byte-pair merges in the order of the pieces' scores, bytes for what is in no piece."""
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(ids, _merges(tokens, ids, scores), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _merges(tokens: Sequence[str], ids: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, the pieces of the highest scores first."""
    ranked = []
    for token in tokens:
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                ranked.append((-scores[ids[token]], ids[left], ids[right], left, right))
    ranked.sort(key=lambda merge: merge[:3])
    return [(left, right) for *_, left, right in ranked]


def _tokenizer_config(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    names = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    config: dict[str, Any] = {
        key: tokens[fields[f"tokenizer.ggml.{name}_token_id"]] for key, name in names.items()
    }
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": kind == "gemma3"}
    if "tokenizer.chat_template" in fields:
        config["chat_template"] = fields["tokenizer.chat_template"]
    return config

"""The three repositories of EXP-012 in their published layout, with small weights: minis of swapbench's, and
around them what their makers put there.

mlx-community/gemma-3-12b-it-4bit is google/gemma-3-12b-it, five shards, converted by an mlx-vlm that wrote
two shards with their index, and then copied every JSON file of the original over it (Blaizzy/mlx-vlm#624;
ddalcu/mlx-serve#465 names this very repository). The other two were converted by mlx-lm, whose index fits,
with what transformers' `save_pretrained` writes of a tokenizer. Dimensions and vocabularies are the minis'.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import mlx.core as mx

SMOLLM2: Final = "mlx-community/SmolLM2-135M-Instruct"
GEMMA_3: Final = "mlx-community/gemma-3-12b-it-4bit"
QWEN2_5: Final = "mlx-community/Qwen2.5-14B-Instruct-4bit"

_INDEX: Final = "model.safetensors.index.json"
# The vision tower of this stand-in.
_VISION_SIZE, _VISION_MLP, _VISION_LAYERS, _PATCHES = 32, 64, 2, 16

Files = dict[str, bytes]


def published(minis: Mapping[str, Path], work: Path) -> dict[str, Files]:
    """Every file of the three repositories, by repository and name. `work` is an empty folder."""
    made = {
        SMOLLM2: _smollm2(minis["smollm2-135m"], work / "smollm2"),
        GEMMA_3: _gemma_3(minis["gemma-3-12b"], work / "gemma-3"),
        QWEN2_5: _qwen2_5(minis["qwen2.5-14b"], work / "qwen2.5"),
    }
    beside = {".gitattributes": b"*.safetensors filter=lfs\n", "README.md": b"---\nlibrary_name: mlx\n---\n"}
    return {repo: beside | files for repo, files in made.items()}


def _smollm2(mini: Path, work: Path) -> Files:
    weights = _weights(mini)
    return {
        "config.json": (mini / "config.json").read_bytes(),
        **_tokenizer(mini, {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}),
        **_vocabulary_and_merges(mini),
        **_sharded(weights, 1, work),
        _INDEX: _index(dict.fromkeys(weights, "model.safetensors"), _bytes(weights)),
    }


def _qwen2_5(mini: Path, work: Path) -> Files:
    weights = _weights(mini)
    config = _read(mini / "config.json")
    generation = {
        "bos_token_id": config["bos_token_id"],
        "do_sample": True,
        # <|im_end|> and <|endoftext|>, where config.json has the first alone.
        "eos_token_id": [config["eos_token_id"], config["bos_token_id"]],
        "pad_token_id": config["bos_token_id"],
        "repetition_penalty": 1.05,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "transformers_version": "4.37.0",
    }
    return {
        "config.json": _json(config),
        "generation_config.json": _json(generation),
        **_tokenizer(mini, {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False}),
        **_vocabulary_and_merges(mini),
        "added_tokens.json": _added_tokens(mini),
        **_sharded(weights, 2, work),
        _INDEX: _index(_two_halves(weights), _bytes(weights)),
    }


def _gemma_3(mini: Path, work: Path) -> Files:
    language = _weights(mini)
    config = _read(mini / "config.json")
    processor = {"processor_class": "Gemma3Processor"}
    template = _read(mini / "tokenizer_config.json")["chat_template"]
    return {
        "config.json": _json(_gemma_3_config(config)),
        "generation_config.json": _json(
            {
                "bos_token_id": config["bos_token_id"],
                "cache_implementation": "hybrid",
                "do_sample": True,
                "eos_token_id": config["eos_token_id"],
                "pad_token_id": config["pad_token_id"],
                "top_k": 64,
                "top_p": 0.95,
                "transformers_version": "4.50.0.dev0",
            }
        ),
        **_tokenizer(
            mini,
            {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "unk_token": "<unk>"} | processor,
        ),
        "tokenizer.json": _json(_sentencepiece(_read(mini / "tokenizer.json"))),
        "added_tokens.json": _added_tokens(mini),
        "chat_template.json": _json({"chat_template": template}),
        # Sentencepiece's own format; nothing reads it where tokenizer.json is.
        "tokenizer.model": b"\n\x0e\n\x05<pad>\x15\x00\x00\x00\x00\x18\x03",
        "processor_config.json": _json(processor | {"image_seq_length": 256}),
        "preprocessor_config.json": _json(
            processor
            | {
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": [0.5, 0.5, 0.5],
                "image_processor_type": "Gemma3ImageProcessor",
                "image_seq_length": 256,
                "image_std": [0.5, 0.5, 0.5],
                "resample": 2,
                "rescale_factor": 1 / 255,
                "size": {"height": 896, "width": 896},
            }
        ),
        **_sharded(language | _vision_tower(config["text_config"]["hidden_size"]), 2, work),
        _INDEX: _stale_index(),
    }


def _gemma_3_config(mini: Mapping[str, Any]) -> dict[str, Any]:
    """The published keys, and those that Google leaves to the class: smaller here."""
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255999,
        "eoi_token_index": 256000,
        "eos_token_id": mini["eos_token_id"],
        "image_token_index": 262144,
        "initializer_range": 0.02,
        "mm_tokens_per_image": 256,
        "model_type": "gemma3",
        "quantization": mini["quantization"],
        "text_config": mini["text_config"],
        "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0",
        "vision_config": {
            "hidden_size": _VISION_SIZE,
            "image_size": 896,
            "intermediate_size": _VISION_MLP,
            "model_type": "siglip_vision_model",
            "num_attention_heads": 2,
            "num_hidden_layers": _VISION_LAYERS,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "vocab_size": mini["vocab_size"],
    }


def _vision_tower(hidden_size: int) -> dict[str, mx.array]:
    """SigLIP's tensors and the projector's, in bfloat16: mlx-vlm quantises neither."""
    shapes: dict[str, tuple[int, ...]] = {
        "multi_modal_projector.mm_input_projection_weight": (_VISION_SIZE, hidden_size),
        "multi_modal_projector.mm_soft_emb_norm.weight": (_VISION_SIZE,),
    }
    tower = "vision_tower.vision_model"
    shapes[f"{tower}.embeddings.patch_embedding.weight"] = (_VISION_SIZE, 14, 14, 3)
    shapes[f"{tower}.embeddings.patch_embedding.bias"] = (_VISION_SIZE,)
    shapes[f"{tower}.embeddings.position_embedding.weight"] = (_PATCHES, _VISION_SIZE)
    for layer in range(_VISION_LAYERS):
        at = f"{tower}.encoder.layers.{layer}"
        linear = {
            f"{at}.self_attn.{one}": (_VISION_SIZE, _VISION_SIZE) for one in ("q_proj", "k_proj", "v_proj")
        }
        linear[f"{at}.self_attn.out_proj"] = (_VISION_SIZE, _VISION_SIZE)
        linear |= {f"{at}.mlp.fc1": (_VISION_MLP, _VISION_SIZE), f"{at}.mlp.fc2": (_VISION_SIZE, _VISION_MLP)}
        for name, (out, in_) in linear.items():
            shapes |= {f"{name}.weight": (out, in_), f"{name}.bias": (out,)}
        for norm in (f"{at}.layer_norm1", f"{at}.layer_norm2"):
            shapes |= {f"{norm}.weight": (_VISION_SIZE,), f"{norm}.bias": (_VISION_SIZE,)}
    for kind in ("weight", "bias"):
        shapes[f"{tower}.post_layernorm.{kind}"] = (_VISION_SIZE,)
    return {name: mx.full(shape, 0.01, mx.bfloat16) for name, shape in shapes.items()}


def _stale_index() -> bytes:
    """The original's: its own names (no scales, no lm_head) in five shards, at its own size."""
    layer = "language_model.model.layers"
    parts = (
        *(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
        *(f"mlp.{one}_proj" for one in ("gate", "up", "down")),
        *(f"self_attn.{one}" for one in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
    )
    names = [f"{layer}.{number}.{part}.weight" for number in range(48) for part in parts]
    names += [
        "language_model.model.embed_tokens.weight",
        "language_model.model.norm.weight",
        *_vision_tower(1),
    ]
    return _index(
        {name: f"model-{1 + n % 5:05d}-of-00005.safetensors" for n, name in enumerate(names)}, 24_374_650_080
    )


def _tokenizer(mini: Path, changes: dict[str, Any]) -> Files:
    config = _read(mini / "tokenizer_config.json")
    special = {
        key: config[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token") if config[key]
    }
    added = _read(mini / "tokenizer.json")["added_tokens"]
    decoder = {str(one["id"]): {key: value for key, value in one.items() if key != "id"} for one in added}
    return {
        "tokenizer.json": (mini / "tokenizer.json").read_bytes(),
        "tokenizer_config.json": _json(config | {"added_tokens_decoder": decoder} | changes),
        "special_tokens_map.json": _json(special),
    }


def _sentencepiece(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma's kind, with a mini's words and its special tokens: a mini's own is byte-level, as Qwen2's is."""
    model = tokenizer["model"]
    special = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    merges = [[part.replace("Ġ", "▁") for part in pair] for pair in model["merges"]]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["▁", *map(chr, range(33, 127)), *dict.fromkeys(left + right for left, right in merges)]
    free = (number for number in range(len(model["vocab"])) if number not in special.values())
    ids = special | dict(zip(pieces, free, strict=False))
    known = [[left, right] for left, right in merges if {left, right, left + right} <= ids.keys()]
    space, mark = {"String": " "}, "▁"
    decoders = [
        {"type": "Replace", "pattern": {"String": mark}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return {
        **tokenizer,
        "normalizer": {"type": "Replace", "pattern": space, "content": mark},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": space,
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model
        | {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": ids, "merges": known},
    }


def _vocabulary_and_merges(mini: Path) -> Files:
    model = _read(mini / "tokenizer.json")["model"]
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    return {"vocab.json": _json(model["vocab"]), "merges.txt": f"#version: 0.2\n{merges}\n".encode()}


def _added_tokens(mini: Path) -> bytes:
    return _json({one["content"]: one["id"] for one in _read(mini / "tokenizer.json")["added_tokens"]})


def _weights(mini: Path) -> dict[str, mx.array]:
    weights = mx.load(str(mini / "model.safetensors"))
    assert isinstance(weights, dict)
    return weights


def _two_halves(weights: Mapping[str, mx.array]) -> dict[str, str]:
    """Each tensor's shard: as many tensors in one as in the other."""
    return {
        name: f"model-{1 + (2 * n >= len(weights)):05d}-of-00002.safetensors"
        for n, name in enumerate(sorted(weights))
    }


def _sharded(weights: Mapping[str, mx.array], shards: int, work: Path) -> Files:
    work.mkdir()
    places = _two_halves(weights) if shards == 2 else dict.fromkeys(weights, "model.safetensors")
    for shard in set(places.values()):
        held = {name: weights[name] for name, place in places.items() if place == shard}
        mx.save_safetensors(str(work / shard), held, {"format": "mlx"})
    return {path.name: path.read_bytes() for path in work.iterdir()}


def _index(weight_map: Mapping[str, str], total_bytes: int) -> bytes:
    return _json({"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(weight_map.items()))})


def _bytes(weights: Mapping[str, mx.array]) -> int:
    return sum(weight.nbytes for weight in weights.values())


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()

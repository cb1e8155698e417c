"""Tiny models with random weights, one of each kind of cache, and a real tokenizer."""

import json
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import pytest
from mlx_lm.models import gemma3_text, llama, qwen2
from mlx_lm.tokenizer_utils import load as load_tokenizer
from mlx_lm.utils import _get_classes
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from swapbench.loaders.stock import evaluate
from swapbench.worker.engine.requests import text

VOCABULARY = 400
WINDOW = 16

_COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
}

# Attention by other means, alone and mixed: their sizes are made up, their keys are those of the makers.
_UNLIKE: dict[str, dict[str, Any]] = {
    "mamba2": {
        "num_heads": 4,
        "head_dim": 32,
        "hidden_size": 64,
        "intermediate_size": 128,
        "state_size": 16,
        "vocab_size": VOCABULARY,
        "num_hidden_layers": 2,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "n_groups": 2,
        "use_bias": False,
        "use_conv_bias": True,
        "tie_word_embeddings": True,
        "time_step_rank": 16,
        "time_step_limit": [0.0, 1e9],
        "expand": 2,
    },
    "falcon_h1": {
        **_COMMON,
        "num_hidden_layers": 2,
        "head_dim": 16,
        "mamba_d_ssm": 128,
        "mamba_d_state": 16,
        "mamba_d_head": 32,
        "mamba_n_heads": 4,
        "mamba_n_groups": 1,
        "mamba_d_conv": 4,
        "mamba_chunk_size": 32,
        "tie_word_embeddings": True,
    },
    "lfm2": {
        **_COMMON,
        "num_hidden_layers": 3,
        "norm_eps": 1e-5,
        "conv_bias": False,
        "conv_L_cache": 3,
        "block_dim": 64,
        "block_ff_dim": 128,
        "block_multiple_of": 32,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": [1],
        "rope_theta": 1e6,
        "max_position_embeddings": 4096,
    },
    "gemma3n": {
        "text_config": {
            **_COMMON,
            "model_type": "gemma3n_text",
            "num_hidden_layers": 5,
            "head_dim": 16,
            "intermediate_size": [128] * 5,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCABULARY,
            "sliding_window": WINDOW,
            "max_position_embeddings": 4096,
            "rope_local_base_freq": 1e4,
            "rope_theta": 1e6,
            "final_logit_softcapping": 30.0,
            "hidden_size_per_layer_input": 16,
            "altup_num_inputs": 2,
            "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
            "activation_sparsity_pattern": [0.95, 0.95, 0.0, 0.0, 0.0],
            "laurel_rank": 8,
            "altup_coef_clip": 120.0,
            "altup_correct_scale": True,
            "altup_active_idx": 0,
        }
    },
    "gpt_bigcode": {
        "n_embd": 64,
        "n_layer": 2,
        "n_inner": 128,
        "n_head": 4,
        "n_positions": 4096,
        "layer_norm_epsilon": 1e-5,
        "vocab_size": VOCABULARY,
    },
    "llama4": {
        "text_config": {
            **_COMMON,
            "model_type": "llama4_text",
            "num_hidden_layers": 4,
            "head_dim": 16,
            "intermediate_size_mlp": 128,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": WINDOW,
            "attention_bias": False,
            "max_position_embeddings": 4096,
            "rope_theta": 5e5,
            "rope_scaling": None,
            "use_qk_norm": True,
        }
    },
}
UNLIKE = tuple(_UNLIKE)


def make_model(kind: str, seed: int = 0) -> Any:
    """`llama` and `qwen2` attend to everything; `gemma3` has windows of 16 in five layers of six.

    `mamba2` has states alone, `falcon_h1` and `lfm2` states beside attention, `gemma3n` windows, layers that
    share caches and weights that it casts when it is called, `llama4` chunks of 16. mlx-lm can't batch
    `llama4`'s caches, and `gpt_bigcode` can't work with a batch of them.
    """
    mx.random.seed(seed)
    if kind in _UNLIKE:
        config = {"model_type": kind, **_UNLIKE[kind]}
        model_class, arguments_class = _get_classes(config)
        model = model_class(arguments_class.from_dict(config))
        evaluate(model)
        return model
    if kind == "llama":
        model = llama.Model(llama.ModelArgs(model_type="llama", num_hidden_layers=3, **_COMMON))
    elif kind == "qwen2":
        model = qwen2.Model(qwen2.ModelArgs(model_type="qwen2", num_hidden_layers=2, **_COMMON))
    else:
        arguments = gemma3_text.ModelArgs(
            model_type="gemma3_text", num_hidden_layers=6, head_dim=32, sliding_window=WINDOW, **_COMMON
        )
        model = gemma3_text.Model(arguments)
    mx.eval(model.parameters())
    return model


def next_token(model: Any, ids: list[int], cache: list[Any]) -> int:
    """The likeliest token after `ids`, which go into the cache."""
    logits = model(mx.array([ids]), cache=cache)
    return cast(int, mx.argmax(logits[0, -1]).item())


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A byte-level BPE tokenizer, loaded as mlx-lm loads every checkpoint's."""
    folder = tmp_path_factory.mktemp("tokenizer")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    bpe.train_from_iterator([text(500, seed=1)], trainer)
    bpe.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(folder)


@pytest.fixture
def thread() -> Iterator[Executor]:
    """The one thread that engines compute on."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


def tag_file(folder: Path, weights: bytes, config: str = "{}") -> Path:
    """A checkpoint folder of one weight file, just enough to be tagged."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config)
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}})
    size = len(header).to_bytes(8, "little")
    (folder / "model.safetensors").write_bytes(size + header.encode() + weights)
    return folder

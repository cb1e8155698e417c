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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from swapbench.worker.engine.workload import text

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


def make_model(kind: str, seed: int = 0) -> Any:
    """`llama` and `qwen2` attend to everything; `gemma3` has windows of 16 in five layers of six."""
    mx.random.seed(seed)
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

"""What is to be made, and what the child that makes it says while it works."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from swapbench.errors import ModelError
from swapbench.experiment import Source
from swapbench.models.catalogue import Entry
from swapbench.models.mini import mini_config, mini_dtype
from swapbench.models.vocabulary import BYTE_TOKENS, Vocabulary, of_config, scaled_down

# How checkpoints are written; a new number has those of an older one made again.
# 1: first published form.
# 2: swapbench.json says whether the model is synthetic or mini.
RECIPE_VERSION: Final = 2

Dtype = Literal["bfloat16", "float16", "float32"]

# The extra tokens that a vocabulary needs beside its bytes: bos, eos, chat turns.
_FEWEST_TOKENS: Final = BYTE_TOKENS + 3

# Far beyond every model there is, and low enough to be planned in a moment.
_LIMITS: Final[dict[str, tuple[int, int]]] = {
    "hidden_size": (8, 1 << 17),
    "intermediate_size": (8, 1 << 20),
    "num_hidden_layers": (1, 1000),
    "num_attention_heads": (1, 4096),
    "num_key_value_heads": (1, 4096),
    "head_dim": (1, 8192),
    "vocab_size": (_FEWEST_TOKENS, 4_000_000),
    "sliding_window": (1, 1 << 30),
    "num_experts": (1, 4096),
}

_IMPLIED_VOCABULARY: Final = {"gemma3": 262_208, "gemma3_text": 262_144}


class Order(BaseModel):
    """A checkpoint to make: everything that decides its bytes, and its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: Source
    config: dict[str, Any]
    dtype: Dtype
    vocabulary: Vocabulary

    def digest(self) -> str:
        """Equal for orders whose checkpoints are equal."""
        decisive = self.model_dump(mode="json", include={"config", "dtype", "vocabulary"})
        text = json.dumps([RECIPE_VERSION, decisive], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Request(BaseModel):
    """What the child reads: the order, and the empty folder to carry it out in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: Order
    folder: Path


class Progress(BaseModel):
    """One line of the child. `refused` is its last, with the reason; `done` is its last otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: Literal["planned", "written", "done", "refused"]
    done_bytes: int = 0
    total_bytes: int = 0
    tensors: int = 0
    reason: str = ""


def of_entry(entry: Entry, source: Source) -> Order:
    """The order for a catalogue model, full size or mini."""
    return _order(entry.name, source, entry.config, entry.dtype, entry.vocabulary)


def of_config_file(name: str, source: Source, path: Path) -> Order:
    """The order for the model that a Hugging Face config.json describes.

    Raises:
        ModelError: the file can't be read, or describes no model that can be made.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path}: not a JSON object, so no model's config.json")
    config = _complete(config)
    check(config, str(path))
    return _order(name, source, config, _dtype(config), of_config(_merged(config)))


def check(config: Mapping[str, Any], origin: str) -> None:
    """Refuse what no checkpoint can be made of, before anything is built.

    Raises:
        ModelError: with file and key.
    """
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{origin}: model_type is missing; give a Hugging Face config.json")
    if config.get("model_file"):
        raise ModelError(f"{origin}: model_file asks for code of its own, and swapbench runs none")
    foreign = config.get("quantization_config")
    if isinstance(foreign, dict) and "quant_method" in foreign and "quantization" not in config:
        raise ModelError(
            f"{origin}: quantization_config is of another format ({foreign['quant_method']}); "
            "give the config.json of an MLX version, or remove the key"
        )
    for table, prefix in ((config, ""), (config.get("text_config"), "text_config.")):
        if isinstance(table, Mapping):
            _check_table(table, f"{origin}: {prefix}")
    if _merged(config).get("vocab_size") is None:
        raise ModelError(f"{origin}: vocab_size is missing; add it to the file")
    _check_quantization(config.get("quantization"), origin)


def _check_table(table: Mapping[str, Any], where: str) -> None:
    for key, (low, high) in _LIMITS.items():
        value = table.get(key)
        if value is not None and not (type(value) is int and low <= value <= high):
            raise ModelError(f"{where}{key} = {value!r:.40}; must be a whole number from {low} to {high}")
    heads, kv_heads = table.get("num_attention_heads"), table.get("num_key_value_heads")
    if heads and kv_heads and heads % kv_heads:
        raise ModelError(f"{where}num_attention_heads = {heads} is no multiple of {kv_heads} KV heads")


def _check_quantization(quantization: Any, origin: str) -> None:
    if quantization is None:
        return
    settings = quantization if isinstance(quantization, dict) else {}
    for key, allowed in (("group_size", (16, 32, 64, 128)), ("bits", (2, 3, 4, 5, 6, 8))):
        if settings.get(key) not in allowed:
            raise ModelError(
                f"{origin}: quantization.{key} = {settings.get(key)!r:.40}; must be one of {allowed}"
            )


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the vocabulary's size, where its publisher left that to the class."""
    implied = _IMPLIED_VOCABULARY.get(str(config.get("model_type")))
    if implied and _merged(config).get("vocab_size") is None:
        return {**config, "vocab_size": implied}
    return config


def _merged(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config and of its text_config, as of one table."""
    text = config.get("text_config")
    return {**(text if isinstance(text, Mapping) else {}), **config}


def _dtype(config: Mapping[str, Any]) -> str:
    merged = _merged(config)
    stated = (merged.get(key) for key in ("torch_dtype", "dtype"))
    return next((dtype for dtype in stated if dtype in ("bfloat16", "float16", "float32")), "bfloat16")


def _order(name: str, source: Source, config: Mapping[str, Any], dtype: str, vocabulary: Vocabulary) -> Order:
    if source is Source.MINI:
        small = scaled_down(vocabulary)
        config, dtype, vocabulary = mini_config(config, vocabulary, small), mini_dtype(config, dtype), small
    return Order.model_validate(
        {"name": name, "source": source, "config": dict(config), "dtype": dtype, "vocabulary": vocabulary}
    )

"""Which checkpoint is to be made: everything that decides its bytes."""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from swapbench.base.errors import ModelError
from swapbench.models.catalogue import Entry
from swapbench.models.stand_ins.dimensions import (
    Kind,
    foreign,
    integers,
    is_part_of_more,
    merged,
    of_kind,
    other_senses,
    vocabulary_size,
)
from swapbench.models.stand_ins.mini import mini_config, mini_dtype
from swapbench.models.stand_ins.tokenizer import BYTE_TOKENS, Vocabulary, of_config, scaled_down
from swapbench.spec.experiment import Source
from swapbench.spec.validation import read_json

# How checkpoints are written; a new number has those of an older one made again.
# 1: first published form.
# 2: swapbench.json says whether the model is synthetic or mini.
RECIPE_VERSION: Final = 2

Dtype = Literal["bfloat16", "float16", "float32"]

# The extra tokens that a vocabulary needs beside its bytes: bos, eos, chat turns.
_FEWEST_TOKENS: Final = BYTE_TOKENS + 3

# Far beyond every model there is, and low enough to be planned in a moment.
_LIMITS: Final = {
    Kind.VOCABULARY: (_FEWEST_TOKENS, 4_000_000),
    Kind.LAYERS: (1, 1000),
    Kind.HIDDEN: (1, 1 << 17),
    Kind.WIDTH: (0, 1 << 20),
    Kind.HEADS: (1, 4096),
    Kind.KV_HEADS: (1, 4096),
    Kind.HEAD_SIZE: (0, 8192),
    Kind.STATE_GROUPS: (1, 4096),
    Kind.EXPERTS: (0, 4096),
    Kind.CHOSEN_EXPERTS: (0, 4096),
    Kind.EXPERT_GROUPS: (0, 4096),
    Kind.SHARING_LAYERS: (0, 1000),
    Kind.DENSE_LAYERS: (0, 1000),
}

# What mlx-lm makes of weights of other formats; of fp8 it loads what its classes bring back to floats.
_METHODS: Final = ("bitnet", "mxfp4", "mxfp8", "fp8", "compressed-tensors", "modelopt", "awq", "gptq")

# Classes that read the vocabulary's size in the outermost table, and nowhere else.
_OUTERMOST_VOCABULARY: Final = ("gemma3", "gemma4", "gemma4_unified")

# Classes that mask tokens by their numbers in the full vocabulary.
_WHOLE_VOCABULARY: Final = ("phi3small",)


class Order(BaseModel):
    """A checkpoint to make: everything that decides its bytes, and its name."""

    # A configuration may hold Infinity and NaN, which pydantic would write as null.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

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


def of_entry(entry: Entry, source: Source) -> Order:
    """The order for a catalogue model, full size or mini."""
    return _order(entry.name, source, entry.config, entry.dtype, entry.vocabulary)


def of_config_file(name: str, source: Source, path: Path) -> Order:
    """The order for the model that a Hugging Face config.json describes.

    Raises:
        ModelError: the file can't be read, or describes no model that can be made.
    """
    config = read_json(path, ModelError)
    if not isinstance(config, dict):
        raise ModelError(f"{path}: not a JSON object, so no model's config.json")
    config = _complete(config)
    _check(config, f"{path}: ")
    table = merged(config)
    stated = (table.get(key) for key in ("torch_dtype", "dtype"))
    dtype = next((str(dtype) for dtype in stated if dtype in get_args(Dtype)), "bfloat16")
    vocabulary = of_config(table | {"vocab_size": vocabulary_size(config)})
    return _order(name, source, config, dtype, vocabulary)


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    """The config with what its publisher left out, or put so that mlx-lm would take it otherwise."""
    config = deepcopy(config)
    model_type, stated = str(config.get("model_type")), vocabulary_size(config)
    if stated is None or (model_type in _OUTERMOST_VOCABULARY and config.get("vocab_size") is None):
        config["vocab_size"] = stated or _default_vocabulary(model_type)
    table = config.get("quantization_config")
    if isinstance(table, dict) and table.get("modules_to_not_convert", ()) is None:
        del table["modules_to_not_convert"]  # mlx-lm would look into null for names
    text = config.get("text_config")
    if isinstance(text, dict) and "attn_temperature_tuning" in text:
        # A switch to mlx-lm, whatever the number; transformers insists that it looks like one.
        text["attn_temperature_tuning"] = bool(text["attn_temperature_tuning"])
    return config


def _default_vocabulary(model_type: str) -> int | None:
    """The size that mlx-lm's class has for a default, read off its source: it isn't to be imported here."""
    package = find_spec("mlx_lm")
    if package is None or package.origin is None or not re.fullmatch(r"[A-Za-z0-9_-]+", model_type):
        return None
    source = Path(package.origin).parent / "models" / f"{model_type}.py"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    found = re.search(r"^    vocab_size: int = (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _check(config: Mapping[str, Any], origin: str) -> None:
    """Refuse what no checkpoint can be made of, with file and key, before anything is built."""
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{origin}model_type is missing; give a Hugging Face config.json")
    if config.get("model_file"):
        raise ModelError(f"{origin}model_file asks for code of its own, and swapbench runs none")
    _check_table(config, origin)
    if vocabulary_size(config) is None:
        raise ModelError(f"{origin}vocab_size is missing; add it to the file")
    method = foreign(config).get("quant_method")
    if method is not None and method not in _METHODS:
        # Which weights there are to be can't be guessed for formats that mlx-lm has no way to load.
        raise ModelError(
            f"{origin}mlx-lm loads no weights of quant_method {method!r:.40}; "
            "give the config.json of an MLX version, or remove quantization_config"
        )


def _check_table(table: Mapping[str, Any], where: str) -> None:
    for kind, (low, high) in _LIMITS.items():
        for key, value in of_kind(table, kind):
            whole = integers(value)
            left_open = kind is Kind.WIDTH and value == "auto"
            if not left_open and not (whole and low <= min(whole) and max(whole) <= high):
                raise ModelError(f"{where}{key} = {value!r:.40}; must be a whole number from {low} to {high}")
    for key, value in table.items():
        if isinstance(value, Mapping) and key not in other_senses(table):
            _check_table(value, f"{where}{key}.")


def _order(name: str, source: Source, config: Mapping[str, Any], dtype: str, vocabulary: Vocabulary) -> Order:
    if source is Source.MINI:
        small = vocabulary if config["model_type"] in _WHOLE_VOCABULARY else scaled_down(vocabulary)
        name += "-text" if is_part_of_more(config) else ""
        config, dtype, vocabulary = mini_config(config, vocabulary, small), mini_dtype(config, dtype), small
    return Order.model_validate(
        {"name": name, "source": source, "config": dict(config), "dtype": dtype, "vocabulary": vocabulary}
    )

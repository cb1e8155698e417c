"""The model that mlx-lm makes of a config.json, in the quantised form in which it wants its weights.

Imports mlx and mlx_lm.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.quantized import quantize
from mlx_lm.utils import load_config, load_model

from swapbench.models.shards import Tensor
from swapbench.models.values import Scales, Words, ZeroPoints

# The packed integers of AutoAWQ and GPTQ, which mlx-lm unpacks.
_TRANSPOSED: Final = ("awq", "gptq")
_CODES_PER_WORD: Final = 8


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as mlx-lm reads it from its file: non-finite numbers, tagged or not, are numbers."""
    with TemporaryDirectory() as folder:
        return load_config(_written(config, Path(folder)))


def empty_model(config: Mapping[str, Any], get_classes: Callable[[dict[str, Any]], Any]) -> tuple[Any, Any]:
    """What mlx-lm's load_model makes of a folder without weights; and the quantisation it found, or None."""

    def blind(config: dict[str, Any]) -> tuple[Any, Any]:
        model_class, args_class = get_classes(config)

        def make(args: Any) -> Any:
            model = model_class(args)
            if hasattr(model, "sanitize"):
                model.sanitize = dict  # there is nothing to put right, and classes miss what isn't there
            return model

        return make, args_class

    with TemporaryDirectory() as folder:
        path = _written(config, Path(folder))
        model, found = load_model(path, lazy=True, strict=False, get_model_classes=blind)
    model.__dict__.pop("sanitize", None)
    return model, found.get("quantization")


def _written(config: Mapping[str, Any], folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def foreign(config: Mapping[str, Any]) -> dict[str, Any]:
    """The quantization_config that decides, where no MLX quantisation does; empty where there is none."""
    if config.get("quantization") is not None:
        return {}
    table = config.get("quantization_config", (config.get("text_config") or {}).get("quantization_config"))
    return table if isinstance(table, dict) else {}


def quantise(model: Any, config: Mapping[str, Any], quantization: dict[str, Any]) -> None:
    """Quantise what a published checkpoint has quantised.

    Of MLX's own format that is whatever can be. Others say what they leave alone, and leave the embeddings
    and the head alone without saying so.
    """
    group_size = quantization["group_size"]
    table = foreign(config)
    left = [
        *(table.get("modules_to_not_convert") or ()),
        *(table.get("ignore") or ()),
        *(table.get("exclude_modules") or ()),
    ]

    def fits(path: str, module: Any) -> bool:
        if not hasattr(module, "to_quantized") or module.weight.shape[-1] % (group_size or 1):
            return False
        if not table:
            return True
        if table.get("quant_method") in _TRANSPOSED and (
            module.weight.ndim > 2 or module.weight.shape[0] % _CODES_PER_WORD
        ):
            return False
        head = isinstance(module, Embedding) or path.endswith("lm_head")
        return not head and not _is_left(path, left)

    def how(path: str, module: Any) -> Any:
        # load_model has quantised the layers that have an entry of their own.
        return path not in quantization and fits(path, module)

    mode = quantization.get("mode", "affine")
    quantize(model, group_size, quantization["bits"], mode=mode, class_predicate=how)


def _is_left(path: str, patterns: list[str]) -> bool:
    """Whether a list of modules names one, itself or as part of another; `re:` begins an expression."""
    return any(
        re.match(pattern[3:], path)
        if pattern.startswith("re:")
        else fnmatchcase(f".{path}.", f"*.{pattern}.*")
        for pattern in patterns
    )


def as_published(tensors: tuple[Tensor, ...], config: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Tensors in the form from which mlx-lm makes those: AWQ and GPTQ pack weights the other way round."""
    if foreign(config).get("quant_method") not in _TRANSPOSED:
        return tensors
    quantised = {t.name.removesuffix(".scales") for t in tensors if t.name.endswith(".scales")}
    return tuple(_packed(t) if t.name.rpartition(".")[0] in quantised else t for t in tensors)


def _packed(tensor: Tensor) -> Tensor:
    path, _, leaf = tensor.name.rpartition(".")
    match leaf:
        case "weight":
            rows, words = tensor.shape
            shape = (words * _CODES_PER_WORD, rows // _CODES_PER_WORD)
            return replace(tensor, name=f"{path}.qweight", shape=shape, dtype="I32", values=Words())
        case "scales":
            assert isinstance(tensor.values, Scales)
            return replace(tensor, shape=tensor.shape[::-1])
        case "biases":
            rows, groups = tensor.shape
            shape = (groups, rows // _CODES_PER_WORD)
            return replace(tensor, name=f"{path}.qzeros", shape=shape, dtype="I32", values=ZeroPoints())
    return tensor

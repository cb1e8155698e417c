"""Every tensor of a configuration's checkpoint, asked of mlx-lm's own model class. Imports mlx and mlx_lm."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.quantized import quantize
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.utils import load_config, load_model

from swapbench.base.errors import ModelError, did_you_mean
from swapbench.compat.mlx_lm import classes_of, is_bit_linear
from swapbench.models.stand_ins.order import Order
from swapbench.models.stand_ins.shards import (
    WEIGHT_STD,
    Given,
    Normal,
    Same,
    Scales,
    Tensor,
    Ternary,
    Values,
    Words,
    ZeroPoints,
    centring,
)

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


_SAFETENSORS: Final = {
    mx.bfloat16: "BF16",
    mx.float16: "F16",
    mx.float32: "F32",
    mx.uint32: "U32",
    mx.uint8: "U8",
    mx.int32: "I32",
    mx.int64: "I64",
}

# Block formats with 8-bit scales: the scale's byte, and the bits that keep codes finite. A scale is a power
# of two (mxfp4 2**-7, mxfp8 2**-5) or an e4m3 number (nvfp4 2**-6), so weights come out near WEIGHT_STD.
_BLOCK_FORMATS: Final = {
    "mxfp4": (120, 0xFFFFFFFF),
    "mxfp8": (122, 0xBFBFBFBF),
    "nvfp4": (8, 0xFFFFFFFF),
}

# What mlx-lm's classes raise when they are given a configuration that makes no sense.
_CLASS_ERRORS: Final = (
    *(TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, ZeroDivisionError),
    *(OverflowError, RuntimeError, NotImplementedError),
)


def tensors(order: Order) -> tuple[Tensor, ...]:
    """Every tensor of the checkpoint, by name, as mlx_lm.load will look for it. Nothing is computed.

    Raises:
        ModelError: mlx-lm has no such architecture, or its class refuses the configuration.
    """
    config = read(order.config)
    model_type = config["model_type"]
    _refuse_unknown(config)
    mx.random.seed(int(order.digest()[:8], 16))  # what a class draws itself shall be the same each time
    try:
        model, quantization = empty_model(config, classes_of)
        _prepare(model, config, getattr(mx, order.dtype))
        if quantization is not None:
            quantise(model, config, quantization)
        _check_names(empty_model(config, classes_of)[0], _flat(model))
        described = as_published(_described(model, config), config)
    except _CLASS_ERRORS as error:
        raise ModelError(
            f"{order.name}: mlx-lm's class for {model_type} refuses the config: {_brief(error)}"
        ) from None
    return described


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    model_type = config["model_type"]
    unknown = ModelError(f'mlx-lm knows no architecture "{model_type:.40}"; {_nearest(model_type)}')
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", model_type) or model_type.startswith("."):
        raise unknown
    try:
        classes_of(dict(config))
    except (ValueError, AttributeError):
        raise unknown from None


def _nearest(model_type: str) -> str:
    files = (Path(mlx_lm.__file__).parent / "models").glob("*.py")
    known = [path.stem for path in files if "\nclass ModelArgs" in path.read_text(encoding="utf-8")]
    near = get_close_matches(model_type, known, n=1)
    return did_you_mean(model_type, near) if near else f"it has classes for {len(known)} others"


def _prepare(model: Any, config: Mapping[str, Any], dtype: Any) -> None:
    """Floats in the checkpoint's type, and no head that the embeddings stand in for."""
    may_cast = getattr(model, "cast_predicate", lambda _: True)
    _tie(model, config, list(_flat(model)))

    def cast(path: str, array: mx.array) -> mx.array:
        floating = mx.issubdtype(array.dtype, mx.floating)
        return array.astype(dtype) if floating and may_cast(path) else array

    model.update(tree_map_with_path(cast, model.parameters()))


def _flat(model: Any) -> dict[str, mx.array]:
    return dict(tree_flatten(model.parameters()))


def _tie(model: Any, config: Mapping[str, Any], names: list[str]) -> None:
    """Have the class drop its lm_head where the config says that embeddings are tied."""
    text = config.get("text_config") or {}
    heads = [name for name in names if name.endswith("lm_head.weight")]
    if heads and (config.get("tie_word_embeddings") or text.get("tie_word_embeddings")):
        model.sanitize({name: mx.zeros(()) for name in names if name not in heads})


def _described(model: Any, config: Mapping[str, Any]) -> tuple[Tensor, ...]:
    modules = dict(model.named_modules())
    parameters = _flat(model)
    neutral: dict[type, float] = {}
    found = []
    for name, array in parameters.items():
        path, _, leaf = name.rpartition(".")
        values = _values(modules.get(path), leaf, array, config, neutral)
        seed_name = path + ".scales" if isinstance(values, Scales) else name
        found.append(Tensor(name, tuple(array.shape), _SAFETENSORS[array.dtype], values, seed_name))
    return tuple(found)


def _check_names(fresh: Any, parameters: Mapping[str, mx.array]) -> None:
    """A class that renames or reshapes its own parameters at load would not find them again."""
    sanitized = fresh.sanitize(dict(parameters)) if hasattr(fresh, "sanitize") else parameters
    before = {name: tuple(array.shape) for name, array in parameters.items()}
    after = {name: tuple(array.shape) for name, array in sanitized.items()}
    if before != after:
        odd = sorted(before.items() ^ after.items())[0][0]
        raise ValueError(f"{odd} would not be found again when the checkpoint is loaded")


def _values(
    module: Any, leaf: str, array: mx.array, config: Mapping[str, Any], neutral: dict[type, float]
) -> Values:
    if is_bit_linear(module) and leaf != "bias":
        scale = 1 / WEIGHT_STD if module.invert_weight_scales else WEIGHT_STD
        return Ternary() if leaf == "weight" else Given(np.full(array.shape, scale, np.float32))
    mode = getattr(module, "mode", "affine")
    if leaf == "weight" and array.dtype == mx.uint32:
        return Words() if mode == "affine" else Words(mask=_BLOCK_FORMATS[mode][1])
    if leaf in ("scales", "biases") and hasattr(module, "bits"):
        if mode != "affine":
            return Same(_BLOCK_FORMATS[mode][0])
        return Scales(module.bits, factor=1.0 if leaf == "scales" else centring(module.bits))
    if leaf == "weight" and array.ndim == 1 and len(module) <= 2:
        kind = type(module)
        if kind not in neutral:
            neutral[kind] = _neutral(module)
        return Normal(neutral[kind], WEIGHT_STD)
    if leaf == "bias" or (array.ndim >= 2 and mx.issubdtype(array.dtype, mx.floating)):
        return Normal(0.0, _weight_std(config))
    return Given(np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array))


def _neutral(norm: Any) -> float:
    """The weight with which a norm leaves a unit vector's scale alone: 1, or 0 where the class adds 1."""
    ones = mx.ones((1, norm.weight.shape[0]))
    kept = norm.weight
    norm.weight = mx.zeros(kept.shape)
    try:
        return 0.0 if bool(mx.any(norm(ones) != 0)) else 1.0
    except (TypeError, ValueError):
        return 1.0  # a norm that wants more than its input
    finally:
        norm.weight = kept


def _weight_std(config: Mapping[str, Any]) -> float:
    text = config.get("text_config") or {}
    stated = config.get("initializer_range", text.get("initializer_range"))
    return float(stated) if isinstance(stated, float) and 0 < stated < 0.1 else WEIGHT_STD


def _brief(error: BaseException) -> str:
    missing = isinstance(error, KeyError)
    text = " ".join(str(error).split())[:200]
    return f"{text} is missing" if missing else text or type(error).__name__

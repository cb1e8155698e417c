"""The child that makes a checkpoint: `python -m swapbench.models.stand_ins.synthesize FOLDER`.

The order is JSON on stdin; stdout has lines of JSON, [bytes done, bytes in all], and at the end null, or why
it can't be made. Every tensor is asked of mlx-lm's own model class: whoever has it made stays without MLX.
"""

import json
import re
import shutil
import sys
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
from swapbench.base.process import stdout_alone
from swapbench.compat.mlx_lm import classes_of, is_bit_linear
from swapbench.models.cache import OnBytes, require_room, sync
from swapbench.models.stand_ins import shards
from swapbench.models.stand_ins.dimensions import foreign, merged
from swapbench.models.stand_ins.order import Order
from swapbench.models.stand_ins.shards import WEIGHT_STD, Tensor, Values
from swapbench.models.stand_ins.tokenizer import write_tokenizer

# What a disk should have left when the checkpoint is there.
_SPARE_BYTES: Final = 512 << 20
_TELL_EVERY_BYTES: Final = 32 << 20

# The packed integers of AutoAWQ and GPTQ, which mlx-lm unpacks.
_TRANSPOSED: Final = ("awq", "gptq")
_CODES_PER_WORD: Final = 8

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


def main() -> None:
    """Carry out one order."""
    lines = stdout_alone()

    def say(what: Any) -> None:
        print(json.dumps(what), file=lines, flush=True)

    folder = Path(sys.argv[1])
    try:
        make(Order.model_validate_json(sys.stdin.buffer.read()), folder, lambda *done: say(done))
        say(None)
    except ModelError as error:
        say(str(error))
    except BrokenPipeError:
        # Whoever asked is gone, and will not clear away what was begun.
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        say(f"{folder.parent}: {error.strerror}")


def make(order: Order, folder: Path, on_bytes: OnBytes) -> None:
    """Write the checkpoint into `folder`, which is there and empty; ModelError if none can be made."""
    files = shards.plan(tensors(order))
    total_bytes = sum(shard.nbytes for shard in files)
    remedy = "make room (`swapbench models rm NAME`), or set SWAPBENCH_CACHE to a folder on another disk"
    require_room(folder.parent, total_bytes, f"{order.name} takes", remedy, _SPARE_BYTES)
    on_bytes(0, total_bytes)
    (folder / "config.json").write_text(
        json.dumps(order.config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    write_tokenizer(folder, order.vocabulary)
    shards.write(files, folder, order.digest(), shards.counted(total_bytes, on_bytes, _TELL_EVERY_BYTES))
    for path in (*folder.iterdir(), folder):
        sync(path)
    on_bytes(total_bytes, total_bytes)


def tensors(order: Order) -> tuple[Tensor, ...]:
    """Every tensor of the checkpoint, by name, as mlx_lm.load will look for it. Nothing is computed.

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
            _quantise(model, config, quantization)
        _check_names(empty_model(config, classes_of)[0], _flat(model))
        return _as_published(_described(model, config), config)
    except _CLASS_ERRORS as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        missing = " is missing" if isinstance(error, KeyError) else ""
        raise ModelError(
            f"{order.name}: mlx-lm's class for {model_type} refuses the config: {text}{missing}"
        ) from None


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


def _refuse_unknown(config: dict[str, Any]) -> None:
    model_type = config["model_type"]
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", model_type):
        try:
            classes_of(dict(config))
            return
        except (ValueError, AttributeError):
            pass
    files = (Path(mlx_lm.__file__).parent / "models").glob("*.py")
    known = [path.stem for path in files if "\nclass ModelArgs" in path.read_text(encoding="utf-8")]
    near = get_close_matches(model_type, known, n=1)
    hint = did_you_mean(model_type, near) if near else f"it has classes for {len(known)} others"
    raise ModelError(f'mlx-lm knows no architecture "{model_type:.40}"; {hint}')


def _prepare(model: Any, config: Mapping[str, Any], dtype: Any) -> None:
    """Floats in the checkpoint's type, and no head that the embeddings stand in for."""
    may_cast = getattr(model, "cast_predicate", lambda _: True)
    names = list(_flat(model))
    heads = [name for name in names if name.endswith("lm_head.weight")]
    tables = (config, config.get("text_config") or {})
    if heads and any(table.get("tie_word_embeddings") for table in tables):
        model.sanitize({name: mx.zeros(()) for name in names if name not in heads})  # the class drops its own

    def cast(path: str, array: mx.array) -> mx.array:
        floating = mx.issubdtype(array.dtype, mx.floating)
        return array.astype(dtype) if floating and may_cast(path) else array

    model.update(tree_map_with_path(cast, model.parameters()))


def _flat(model: Any) -> dict[str, mx.array]:
    return dict(tree_flatten(model.parameters()))


def _quantise(model: Any, config: Mapping[str, Any], quantization: dict[str, Any]) -> None:
    """Quantise what a published checkpoint has quantised.

    Of MLX's own format that is whatever can be. Others say what they leave alone, and leave the embeddings
    and the head alone without saying so.
    """
    group_size = quantization["group_size"]
    table = foreign(config)
    left = [
        pattern
        for key in ("modules_to_not_convert", "ignore", "exclude_modules")
        for pattern in table.get(key) or ()
    ]

    def how(path: str, module: Any) -> bool:
        # load_model has quantised the layers that have an entry of their own.
        if path in quantization or not hasattr(module, "to_quantized"):
            return False
        if module.weight.shape[-1] % (group_size or 1):
            return False
        odd = table.get("quant_method") in _TRANSPOSED and (
            module.weight.ndim > 2 or module.weight.shape[0] % _CODES_PER_WORD
        )
        head = isinstance(module, Embedding) or path.endswith("lm_head")
        return not table or not (odd or head or any(_names(pattern, path) for pattern in left))

    mode = quantization.get("mode", "affine")
    quantize(model, group_size, quantization["bits"], mode=mode, class_predicate=how)


def _names(pattern: str, path: str) -> bool:
    """Whether an entry of a list of modules names one, itself or a part of it; `re:` begins an expression."""
    if pattern.startswith("re:"):
        return bool(re.match(pattern[3:], path))
    return fnmatchcase(f".{path}.", f"*.{pattern}.*")


def _check_names(fresh: Any, parameters: Mapping[str, mx.array]) -> None:
    """A class that renames or reshapes its own parameters at load would not find them again."""
    sanitized = fresh.sanitize(dict(parameters)) if hasattr(fresh, "sanitize") else parameters
    before = {name: tuple(array.shape) for name, array in parameters.items()}
    after = {name: tuple(array.shape) for name, array in sanitized.items()}
    if before != after:
        odd = sorted(before.items() ^ after.items())[0][0]
        raise ValueError(f"{odd} would not be found again when the checkpoint is loaded")


def _described(model: Any, config: Mapping[str, Any]) -> tuple[Tensor, ...]:
    stated = merged(config).get("initializer_range")
    std = stated if isinstance(stated, float) and 0 < stated < 0.1 else WEIGHT_STD
    modules = dict(model.named_modules())
    neutral: dict[type, float] = {}
    found = []
    for name, array in _flat(model).items():
        path, _, leaf = name.rpartition(".")
        module = modules.get(path)
        values = _values(module, leaf, array, std, neutral)
        grouped = leaf in ("scales", "biases") and hasattr(module, "bits")
        seed_name = f"{path}.scales" if grouped and getattr(module, "mode", "affine") == "affine" else name
        found.append(Tensor(name, tuple(array.shape), _SAFETENSORS[array.dtype], values, seed_name))
    return tuple(found)


def _values(module: Any, leaf: str, array: mx.array, std: float, neutral: dict[type, float]) -> Values:
    if is_bit_linear(module) and leaf != "bias":
        scale = 1 / WEIGHT_STD if module.invert_weight_scales else WEIGHT_STD
        return shards.ternary if leaf == "weight" else np.full(array.shape, scale, np.float32)
    mode = getattr(module, "mode", "affine")
    if leaf == "weight" and array.dtype == mx.uint32:
        return shards.words() if mode == "affine" else shards.words(mask=_BLOCK_FORMATS[mode][1])
    if leaf in ("scales", "biases") and hasattr(module, "bits"):
        if mode != "affine":
            return shards.same(_BLOCK_FORMATS[mode][0])
        return shards.scales(module.bits, 1.0 if leaf == "scales" else shards.centring(module.bits))
    if leaf == "weight" and array.ndim == 1 and len(module) <= 2:
        kind = type(module)
        if kind not in neutral:
            neutral[kind] = _neutral(module)
        return shards.normal(neutral[kind], WEIGHT_STD)
    if leaf == "bias" or (array.ndim >= 2 and mx.issubdtype(array.dtype, mx.floating)):
        return shards.normal(0.0, std)
    # What the class computed itself: frequencies, state matrices and the like.
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


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


def _as_published(tensors: tuple[Tensor, ...], config: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Tensors in the form from which mlx-lm makes those: AWQ and GPTQ pack weights the other way round."""
    if foreign(config).get("quant_method") not in _TRANSPOSED:
        return tensors
    quantised = {t.name.removesuffix(".scales") for t in tensors if t.name.endswith(".scales")}
    return tuple(_packed(t) if t.name.rpartition(".")[0] in quantised else t for t in tensors)


def _packed(tensor: Tensor) -> Tensor:
    path, _, leaf = tensor.name.rpartition(".")
    if leaf == "scales":
        return replace(tensor, shape=tensor.shape[::-1])
    if leaf == "weight":
        rows, words = tensor.shape
        shape = (words * _CODES_PER_WORD, rows // _CODES_PER_WORD)
        return replace(tensor, name=f"{path}.qweight", shape=shape, dtype="I32", values=shards.words())
    if leaf == "biases":
        rows, groups = tensor.shape
        middle = shards.same(0x88888888, np.uint32)  # of 4-bit codes, eight times a word
        shape = (groups, rows // _CODES_PER_WORD)
        return replace(tensor, name=f"{path}.qzeros", shape=shape, dtype="I32", values=middle)
    return tensor


if __name__ == "__main__":
    main()

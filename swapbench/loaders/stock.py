"""stock: mlx_lm's own way, the denominator of every comparison. reuse: the same, in memory that the model
before has left. And evaluating all that a model is made of."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import mlx.core as mx
from mlx_lm.utils import load_model

from swapbench.loaders.arrays import Span, UnfitError, shards_of, weight_bytes

LOADERS: Final = {
    "stock": {
        "cost": "on Linux, freed memory stays with the process, as in mlx_lm",
        "avoid": "where swaps must be fast",
    },
    "reuse": {
        "cost": "freed memory stays with the process",
        "avoid": "where other programs want the memory between models",
        "fallback": "stock",
    },
}


def load_weights(path: Path, span: Span) -> tuple[Any, dict[str, Any]]:
    """What mlx_lm.load_model does, in its two parts: the model, evaluated, and its config.

    Spans: `build` parses the files' headers and constructs the modules (lazy load_model), `read` brings every
    weight into memory. Raises as mlx_lm.load_model; code of a checkpoint's own is not run.
    """
    with span("build"):
        model, config = load_model(path, lazy=True)
    with span("read"):
        evaluate(model)
    return model, config


def keep_buffers(old: Path, new: Path) -> bool:
    """Have MLX's cache keep what `old` frees for `new`, if both are of the same shapes; whether they are.

    The cache hands a buffer out only for an array of nearly its own size: between other shapes it would keep
    the old model beside the new one.
    """
    with suppress(UnfitError, OSError):
        if _sizes(old) == _sizes(new):
            mx.set_cache_limit(weight_bytes(new))
            return True
    return False


def _sizes(checkpoint: Path) -> list[int]:
    return sorted(entry.end - entry.start for shard in shards_of(checkpoint) for entry in shard.tensors)


# Nothing of a model's own lies in these, and a module leads to everything there is.
_CLOSED: Final = (str, bytes, int, float, complex, type, ModuleType, type(None), mx.Dtype)


def evaluate(model: Any) -> list[mx.array]:
    """Evaluate every array that a model holds, not its parameters only; returns them.

    What a class computes for itself (frequencies of scaled RoPE, masks, tables) is no parameter, and MLX
    leaves it on the stream of the thread that built it: another thread's first request would fail there.
    """
    # Parameters first and in mlx_lm's order, by which memory is taken and files are read.
    mx.eval(model.parameters())
    arrays = list(arrays_of(model))
    mx.eval(arrays)
    return arrays


def arrays_of(model: Any) -> Iterator[mx.array]:
    """Every array that can be reached from a model: its modules' own, and those in whatever they hold."""
    seen: set[int] = set()
    left = [model]
    while left:
        thing = left.pop()
        if isinstance(thing, _CLOSED) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, mx.array):
            yield thing
        else:
            left += _parts(thing)


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, dict):  # modules are dictionaries, too
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, MethodType):
        yield thing.__self__
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            with suppress(ValueError):  # an empty one
                yield cell.cell_contents
        yield from thing.__defaults__ or ()
    yield from getattr(thing, "__dict__", {}).values()

"""stock: mlx_lm's own way, the denominator of every comparison; evaluating all that a model is made of."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import mlx.core as mx
from mlx_lm.utils import load_model

from swapbench.loaders.source import Span

LOADERS: Final = {
    "stock": {
        "cost": "on Linux, freed memory stays with the process, as in mlx_lm",
        "avoid": "where swaps must be fast",
    },
}


def load_weights(path: Path, span: Span) -> tuple[Any, dict[str, Any]]:
    """What mlx_lm.load_model does, in its two parts: the model, evaluated, and its config.

    Spans: `build` parses the files' headers and constructs the modules (lazy load_model), `read` brings
    every weight into memory.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt or of other shapes,
            or asks for code of its own, which mlx-lm does not run unless it is told to.
    """
    with span("build"):
        model, config = load_model(path, lazy=True)
    with span("read"):
        evaluate(model)
    return model, config


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
        yield from (cell.cell_contents for cell in thing.__closure__ or () if _filled(cell))
        yield from thing.__defaults__ or ()
    yield from getattr(thing, "__dict__", {}).values()


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True

"""mlx-lm's own construction of a model, over weights that somebody else brings."""

import types
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.utils
from mlx.utils import tree_flatten, tree_unflatten


def build(checkpoint: Path, weights: dict[str, mx.array]) -> tuple[Any, dict[str, Any]]:
    """The model that mlx_lm.load_model makes, lazily, where mx.load would give `weights`; and its config.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: as mlx_lm.load_model.
    """
    original = mlx_lm.utils.load_model
    # A copy of the function that sees other globals: patching the module would reach other threads' loads.
    seen = original.__globals__ | {"mx": _Core(weights)}
    load_model = types.FunctionType(
        original.__code__, seen, original.__name__, original.__defaults__, original.__closure__
    )
    load_model.__kwdefaults__ = original.__kwdefaults__
    model, config = load_model(checkpoint, lazy=True)
    return model, config


class _Core:
    """mlx.core, but that the first `load` gives all weights, and the others none."""

    def __init__(self, weights: dict[str, mx.array]) -> None:
        self._left = weights

    def load(self, _file: str) -> dict[str, mx.array]:
        weights, self._left = self._left, {}
        return weights

    def __getattr__(self, name: str) -> Any:
        return getattr(mx, name)


def put_in_place(model: Any, stand_ins: dict[str, mx.array], weights: dict[str, mx.array]) -> bool:
    """Replace each parameter that is one of `stand_ins` by the weight of its name.

    Returns:
        Whether all parameters were: where mlx-lm made new ones of them, the model is left as it was.
    """
    names = {id(array): name for name, array in stand_ins.items()}
    parameters: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]
    if not all(id(array) in names for _, array in parameters):
        return False
    model.update(tree_unflatten([(path, weights[names[id(array)]]) for path, array in parameters]))
    return True

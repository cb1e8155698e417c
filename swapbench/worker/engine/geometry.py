"""The KV geometry of a model: what a token costs in each layer, told by the model itself."""

from dataclasses import dataclass
from typing import Any, Self

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache


@dataclass(frozen=True)
class LayerKV:
    """One layer's keys and values: heads, sizes, and the window beyond which it forgets."""

    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None
    itemsize: int

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return self.kv_heads * (self.key_dim + self.value_dim) * self.itemsize


@dataclass(frozen=True)
class KVGeometry:
    """All layers of a model."""

    layers: tuple[LayerKV, ...]

    @classmethod
    def of(cls, model: Any) -> Self:
        """Read the geometry off the graph of one token, which is built and never evaluated.

        Whatever a model calls its heads, and however it lays out its windows, the shapes and dtypes that
        its caches would get are the truth; nothing is computed and no memory taken.

        Raises:
            TypeError: a layer's cache is no KV cache, so tokens have no fixed cost there.
        """
        cache = make_prompt_cache(model)
        model(mx.array([[0]]), cache=cache)
        return cls(tuple(_layer(entry) for entry in cache))

    def bytes_for(self, tokens: int) -> int:
        """Bytes that a sequence of so many tokens takes; a layer with a window keeps no more than it."""
        return sum(
            layer.token_bytes * (tokens if layer.window is None else min(tokens, layer.window))
            for layer in self.layers
        )


def _layer(entry: Any) -> LayerKV:
    keys, values = getattr(entry, "keys", None), getattr(entry, "values", None)
    if not isinstance(keys, mx.array) or not isinstance(values, mx.array):
        raise TypeError(f"a cache of type {type(entry).__name__} has no keys and values to measure")
    return LayerKV(
        kv_heads=keys.shape[1],
        key_dim=keys.shape[-1],
        value_dim=values.shape[-1],
        window=getattr(entry, "max_size", None),
        itemsize=keys.dtype.size,
    )

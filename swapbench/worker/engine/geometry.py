"""What a sequence costs in a model's caches, told by the caches that the model makes for itself."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from swapbench.compat.mlx_lm import holds_tokens, parts_of, step_of, window_of

# What one call of a model is given of a prompt at most, as in mlx-lm's BatchGenerator.
PREFILL_STEP: Final = 2048


@dataclass(frozen=True)
class LayerCache:
    """One layer's cache: bytes whatever the sequence, and bytes for each of its tokens.

    Args:
        step: tokens for which memory is taken at once.
        window: tokens beyond which the layer forgets; None where it keeps all.
    """

    fixed_bytes: int = 0
    token_bytes: int = 0
    step: int = 1
    window: int | None = None

    def bytes_for(self, tokens: int) -> int:
        """Bytes that a sequence of so many tokens takes at most, while its prompt is read included."""
        held = -(-tokens // self.step) * self.step
        if self.window is not None:
            # A prompt comes in steps, each held whole beside the window before it; what is trimmed to the
            # window or was read at once grows from there, by a step of the cache's.
            held = min(tokens, self.window + PREFILL_STEP - 1) + self.step
        return self.fixed_bytes + self.token_bytes * held


@dataclass(frozen=True)
class KVGeometry:
    """All layers of a model."""

    layers: tuple[LayerCache, ...]

    @classmethod
    def of(cls, model: Any) -> Self:
        """Read the geometry off the graph of one token, or of one and of two, built and never evaluated (but
        by classes that look at values themselves, as dbrx does).

        Whatever a model calls its heads, and whatever it remembers, the shapes and dtypes that its caches
        would get are the truth; nothing is computed and no memory taken.

        Raises:
            Exception: what the model's class raises when it is called.
        """
        one = list(_leaves(traced(model, 1)))
        two = one if all(map(holds_tokens, one)) else list(_leaves(traced(model, 2)))
        return cls(tuple(_layer(*pair) for pair in zip(one, two, strict=True)))

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in all layers that have not reached their windows."""
        return sum(layer.token_bytes for layer in self.layers)

    def bytes_for(self, tokens: int) -> int:
        """Bytes that a sequence of so many tokens takes at most."""
        return sum(layer.bytes_for(tokens) for layer in self.layers)


def traced(model: Any, tokens: int) -> list[Any]:
    """The caches of a prompt of so many tokens: of the right shapes and dtypes, and never evaluated."""
    caches: list[Any] = make_prompt_cache(model)
    with untouched(model):
        model(mx.array([[0] * tokens]), cache=caches)
    return caches


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Undo what a call leaves in the model: some cast and clip weights of their own, which would stay
    unevaluated, on this thread's stream."""
    modules = model.modules()
    before = [(dict(module), dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for module, (arrays, attributes) in zip(modules, before, strict=True):
            for contents, now in ((arrays, module), (attributes, vars(module))):
                now.clear()
                dict.update(now, contents)


def _leaves(caches: Iterable[Any]) -> Iterator[Any]:
    """Caches, with the parts of those that are made of others in their place."""
    for cache in caches:
        parts = parts_of(cache)
        if parts is None:
            yield cache
        else:
            yield from _leaves(parts)


def _layer(one: Any, two: Any) -> LayerCache:
    """The same cache of one token and of two."""
    if holds_tokens(one):
        return LayerCache(
            token_bytes=sum(array.nbytes // array.shape[2] for array in (one.keys, one.values)),
            step=step_of(one),
            window=window_of(one),
        )
    # A state that stays as large as it is, or something of a class's own: whatever its second token adds.
    first, second = array_bytes(one), array_bytes(two)
    more = max(0, second - first)
    return LayerCache(fixed_bytes=max(0, first - more), token_bytes=more)


def array_bytes(cache: Any) -> int:
    """Bytes of the arrays in a cache's state."""
    leaves: list[tuple[str, Any]] = tree_flatten(cache.state)  # type: ignore[assignment]
    return sum(leaf.nbytes for _, leaf in leaves if isinstance(leaf, mx.array))

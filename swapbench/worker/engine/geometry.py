"""What a sequence costs in a model's caches, told by the caches themselves; how many fit a memory budget."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache

from swapbench.compat.mlx_lm import can_merge, holds_tokens, merged, parts_of, step_of, window_of

# What one call of a model is given of a prompt at most, as in mlx-lm's BatchGenerator.
PREFILL_STEP: Final = 2048


@dataclass(frozen=True)
class LayerCache:
    """One layer's cache: bytes whatever the sequence, and bytes for each of its tokens.

    `step`: tokens for which memory is taken at once. `window`: tokens beyond which the layer forgets.
    """

    fixed_bytes: int = 0
    token_bytes: int = 0
    step: int = 1
    window: int | None = None

    @classmethod
    def of(cls, one: Any, two: Any) -> Self:
        if holds_tokens(one):
            token_bytes = sum(array.nbytes // array.shape[2] for array in (one.keys, one.values))
            return cls(0, token_bytes, step_of(one), window_of(one))
        # A state that stays as large as it is, or something of a class's own: whatever its second token adds.
        first = array_bytes(one)
        more = max(0, array_bytes(two) - first)
        return cls(max(0, first - more), more)

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
    layers: tuple[LayerCache, ...]

    @classmethod
    def of(cls, model: Any) -> Self:
        """By the shapes and dtypes that its caches would get; nothing is computed and no memory taken (but by
        classes that look at values themselves, as dbrx does). Raises what the model's class raises when it
        is called."""
        one = list(_leaves(traced(model, 1)))
        two = one if all(map(holds_tokens, one)) else list(_leaves(traced(model, 2)))
        return cls(tuple(map(LayerCache.of, one, two)))

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in all layers that have not reached their windows."""
        return sum(layer.token_bytes for layer in self.layers)

    def bytes_for(self, tokens: int) -> int:
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


def can_batch(model: Any) -> bool:
    """Whether mlx-lm can put a model's caches together, and the model can work with what comes of it.

    The graph of two sequences tells, built and never evaluated: some classes want one number where a batch
    has an offset for each of its sequences.
    """
    pairs = list(zip(make_prompt_cache(model), make_prompt_cache(model), strict=True))
    if not all(can_merge(cache) for cache, _ in pairs):
        return False
    try:
        with untouched(model):
            model(mx.array([[0], [0]]), cache=[merged(*pair) for pair in pairs])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    return True


def _leaves(caches: Iterable[Any]) -> Iterator[Any]:
    """Caches, with the parts of those that are made of others in their place."""
    for cache in caches:
        parts = parts_of(cache)
        yield from (cache,) if parts is None else _leaves(parts)


def array_bytes(cache: Any) -> int:
    leaves: list[tuple[str, Any]] = tree_flatten(cache.state)  # type: ignore[assignment]
    return sum(leaf.nbytes for _, leaf in leaves if isinstance(leaf, mx.array))


class BlockPool:
    """Counts blocks against `budget_bytes`; one has the bytes of `block_tokens` tokens in all layers.

    A sequence takes as many as its caches at most hold. Only counters: a list of blocks would have a million
    entries for small models.
    """

    def __init__(self, budget_bytes: int, block_tokens: int) -> None:
        self._budget_bytes = budget_bytes
        self._block_tokens = block_tokens
        self._geometry = KVGeometry(())
        self._block_bytes = self._reserved_blocks = 0
        self.capacity_blocks = 0

    def reconfigure(self, geometry: KVGeometry) -> None:
        """Fit the same budget to another model; RuntimeError where sequences of the old one hold blocks."""
        if self._reserved_blocks:
            raise RuntimeError(f"{self._reserved_blocks} blocks of the old model are still reserved")
        self._geometry = geometry
        # Of a model whose caches never grow, one sequence is one block.
        self._block_bytes = geometry.token_bytes * self._block_tokens or max(1, geometry.bytes_for(1))
        self.capacity_blocks = self._budget_bytes // self._block_bytes

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all blocks: within one block of the budget."""
        return self.capacity_blocks * self._block_bytes

    @property
    def free_blocks(self) -> int:
        return self.capacity_blocks - self._reserved_blocks

    def blocks_for(self, tokens: int) -> int:
        return -(-self._geometry.bytes_for(tokens) // self._block_bytes)

    def reserve(self, tokens: int) -> int | None:
        """Blocks for a sequence until they are released, or None when there are not so many now."""
        blocks = self.blocks_for(tokens)
        if blocks > self.free_blocks:
            return None
        self._reserved_blocks += blocks
        return blocks

    def release(self, blocks: int) -> None:
        if blocks > self._reserved_blocks:
            raise RuntimeError(f"{blocks} blocks released, {self._reserved_blocks} were reserved")
        self._reserved_blocks -= blocks

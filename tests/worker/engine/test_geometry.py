"""Geometry is what caches really take; the pool counts by it."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.models.cache import make_prompt_cache

from swapbench.loaders.stock import arrays_of
from swapbench.worker.engine import geometry
from swapbench.worker.engine.geometry import (
    PREFILL_STEP,
    BlockPool,
    KVGeometry,
    LayerCache,
    array_bytes,
)
from tests.worker.engine.conftest import UNLIKE, WINDOW, make_model, next_token


def test_full_attention_costs_the_same_in_every_layer() -> None:
    geometry = KVGeometry.of(make_model("llama"))
    token = 2 * (16 + 16) * 4
    assert geometry.layers == (LayerCache(token_bytes=token, step=256),) * 3
    assert (geometry.bytes_for(10), geometry.bytes_for(257)) == (3 * 256 * token, 3 * 512 * token)


def test_sliding_windows_and_their_pattern_are_seen() -> None:
    geometry = KVGeometry.of(make_model("gemma3"))
    assert [layer.window for layer in geometry.layers] == [WINDOW] * 5 + [None]
    most = WINDOW + PREFILL_STEP - 1 + 256
    assert geometry.bytes_for(10_000) == 2 * (32 + 32) * 4 * (5 * most + 10_240)


def test_a_chunk_is_a_window() -> None:
    assert {layer.window for layer in KVGeometry.of(make_model("llama4")).layers} == {WINDOW, None}


def test_a_state_costs_the_same_whatever_the_sequence() -> None:
    geometry = KVGeometry.of(make_model("mamba2"))
    assert geometry.token_bytes == 0
    assert geometry.bytes_for(1) == geometry.bytes_for(100_000) > 0


def test_states_beside_attention_are_told_apart() -> None:
    layers = KVGeometry.of(make_model("falcon_h1")).layers
    assert [(layer.fixed_bytes > 0, layer.token_bytes > 0) for layer in layers] == [
        (True, False),
        (False, True),
    ] * 2


@pytest.mark.parametrize("kind", ["llama", "gemma3", *UNLIKE])
@pytest.mark.parametrize(("prompt", "decoded"), [(1, 3), (20, 30), (255, 3), (300, 2), (340, 3)])
def test_no_sequence_ever_takes_more_and_one_that_only_grows_takes_as_much(
    kind: str, prompt: int, decoded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest prompt takes more than one step."""
    step = 300
    monkeypatch.setattr(geometry, "PREFILL_STEP", step)
    model = make_model(kind)
    cache = make_prompt_cache(model)
    taken = []
    ids = [1] * prompt
    while len(ids) > step:
        next_token(model, ids[:step], cache)
        taken.append(sum(map(array_bytes, cache)))
        ids = ids[step:]
    for _ in range(decoded):
        ids = [next_token(model, ids, cache)]
        taken.append(sum(map(array_bytes, cache)))
    told = KVGeometry.of(model).bytes_for(prompt + decoded - 1)
    assert max(taken) <= told
    if kind in ("llama", "mamba2", "falcon_h1", "lfm2"):
        assert max(taken) == told


def test_looking_leaves_the_model_as_it_was() -> None:
    """Gemma 3n casts and clips weights of its own when it is called."""
    model = make_model("gemma3n")
    before = list(map(id, arrays_of(model)))
    KVGeometry.of(model)
    assert list(map(id, arrays_of(model))) == before


def test_looking_computes_nothing() -> None:
    model = make_model("qwen2")
    mx.synchronize()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    KVGeometry.of(model)
    assert mx.get_peak_memory() - before < 1000


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_tokens_never_cost_less(a: int, b: int) -> None:
    layers = (LayerCache(token_bytes=64, step=256, window=100), LayerCache(token_bytes=64), LayerCache(9))
    geometry = KVGeometry(layers)
    low, high = sorted((a, b))
    assert geometry.bytes_for(low) <= geometry.bytes_for(high)


def test_a_cache_of_a_classs_own_costs_what_a_second_token_adds() -> None:
    class Own:
        def __init__(self) -> None:
            self.state: list[Any] = [mx.zeros((4,)), None]

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def make_cache(self) -> list[Own]:
            return [Own()]

        def __call__(self, tokens: mx.array, cache: list[Own]) -> None:
            cache[0].state[1] = mx.zeros((tokens.shape[1], 8))

    assert KVGeometry.of(Model()).layers == (LayerCache(fixed_bytes=16, token_bytes=32),)


GEOMETRY = KVGeometry((LayerCache(token_bytes=64, window=24), LayerCache(token_bytes=64, step=256)))


def _pool(budget_bytes: int, block_tokens: int = 16) -> BlockPool:
    pool = BlockPool(budget_bytes, block_tokens)
    pool.reconfigure(GEOMETRY)
    return pool


@given(st.integers(1, 10**6), st.integers(1, 64), st.lists(st.integers(0, 2000), max_size=50))
def test_what_is_admitted_never_takes_more_than_the_budget(
    budget_bytes: int, block_tokens: int, wanted: list[int]
) -> None:
    pool = _pool(budget_bytes, block_tokens)
    admitted = [tokens for tokens in wanted if pool.reserve(tokens) is not None]
    assert sum(GEOMETRY.bytes_for(tokens) for tokens in admitted) <= budget_bytes
    assert 0 <= pool.free_blocks <= pool.capacity_blocks


@given(st.lists(st.integers(1, 200), max_size=50))
def test_what_is_released_is_free_again(wanted: list[int]) -> None:
    pool = _pool(10**5)
    held = [blocks for tokens in wanted if (blocks := pool.reserve(tokens)) is not None]
    for blocks in held:
        pool.release(blocks)
    assert pool.free_blocks == pool.capacity_blocks


def test_the_budget_stays_the_same_whatever_the_model() -> None:
    pool = _pool(1 << 20)
    small = pool.capacity_blocks
    pool.reconfigure(KVGeometry(GEOMETRY.layers * 10))
    assert pool.capacity_blocks == pytest.approx(small / 10, abs=1)
    pool.reconfigure(GEOMETRY)
    assert pool.capacity_blocks == small


def test_a_pool_in_use_can_not_be_reconfigured() -> None:
    pool = _pool(10**5)
    assert pool.reserve(10) is not None
    with pytest.raises(RuntimeError, match="still reserved"):
        pool.reconfigure(GEOMETRY)


def test_nothing_can_be_released_that_was_not_reserved() -> None:
    with pytest.raises(RuntimeError, match="were reserved"):
        _pool(10**5).release(1)


def test_of_a_model_whose_caches_never_grow_each_sequence_is_a_block() -> None:
    pool = BlockPool(1000, 16)
    pool.reconfigure(KVGeometry((LayerCache(fixed_bytes=60), LayerCache(fixed_bytes=40))))
    assert (pool.capacity_blocks, pool.blocks_for(1), pool.blocks_for(10_000)) == (10, 1, 1)


def test_memory_that_is_taken_some_hundred_tokens_at_a_time_is_counted_so() -> None:
    pool = BlockPool(10**6, 16)
    pool.reconfigure(KVGeometry((LayerCache(token_bytes=64, step=256),)))
    assert [pool.blocks_for(tokens) for tokens in (1, 256, 257)] == [16, 16, 32]

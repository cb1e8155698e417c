"""The block pool's arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.worker.engine.blocks import BlockPool, Reservation
from swapbench.worker.engine.geometry import KVGeometry, LayerCache

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
    held = [reservation for tokens in wanted if (reservation := pool.reserve(tokens)) is not None]
    for reservation in held:
        pool.release(reservation)
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
        _pool(10**5).release(Reservation(1))


def test_of_a_model_whose_caches_never_grow_each_sequence_is_a_block() -> None:
    pool = BlockPool(1000, 16)
    pool.reconfigure(KVGeometry((LayerCache(fixed_bytes=60), LayerCache(fixed_bytes=40))))
    assert (pool.capacity_blocks, pool.blocks_for(1), pool.blocks_for(10_000)) == (10, 1, 1)


def test_memory_that_is_taken_some_hundred_tokens_at_a_time_is_counted_so() -> None:
    pool = BlockPool(10**6, 16)
    pool.reconfigure(KVGeometry((LayerCache(token_bytes=64, step=256),)))
    assert [pool.blocks_for(tokens) for tokens in (1, 256, 257)] == [16, 16, 32]

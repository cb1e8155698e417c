"""KV geometry, read off real models."""

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.worker.engine.geometry import KVGeometry, LayerKV
from tests.worker.engine.conftest import WINDOW, make_model


def test_full_attention_costs_the_same_in_every_layer() -> None:
    geometry = KVGeometry.of(make_model("llama"))
    assert geometry.layers == (LayerKV(2, 16, 16, None, 4),) * 3
    assert geometry.bytes_for(10) == 3 * 10 * 2 * (16 + 16) * 4


def test_sliding_windows_and_their_pattern_are_seen() -> None:
    geometry = KVGeometry.of(make_model("gemma3"))
    assert [layer.window for layer in geometry.layers] == [WINDOW] * 5 + [None]
    token = 2 * (32 + 32) * 4
    assert geometry.bytes_for(100) == 5 * WINDOW * token + 100 * token


def test_looking_computes_nothing() -> None:
    model = make_model("qwen2")
    mx.synchronize()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    KVGeometry.of(model)
    assert mx.get_peak_memory() - before < 1000


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_tokens_never_cost_less(a: int, b: int) -> None:
    layers = (LayerKV(2, 8, 8, 100, 2), LayerKV(2, 8, 8, None, 2))
    geometry = KVGeometry(layers)
    low, high = sorted((a, b))
    assert geometry.bytes_for(low) <= geometry.bytes_for(high)


def test_a_cache_without_keys_is_named() -> None:
    class _Stateful:
        layers = (None,)

        def make_cache(self) -> list[object]:
            return [object()]

        def __call__(self, tokens: mx.array, cache: object) -> None:
            pass

    with pytest.raises(TypeError, match="object"):
        KVGeometry.of(_Stateful())

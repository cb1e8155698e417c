"""Workloads have the shapes that real use leaves behind."""

from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from swapbench.spec.experiment import CacheFill
from swapbench.worker.engine.workload import fill_cache, requests
from tests.worker.engine.conftest import UNLIKE, WINDOW, make_model


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("tokens", [1, 2, WINDOW, WINDOW + 1, 600])
def test_random_caches_have_the_shapes_of_prefilled_ones(kind: str, tokens: int, tokenizer: Any) -> None:
    model = make_model(kind)
    prefilled = fill_cache(model, tokenizer, tokens, CacheFill.PREFILL, seed=1)
    filled = fill_cache(model, tokenizer, tokens, CacheFill.RANDOM, seed=1)
    for real, made in zip(prefilled, filled, strict=True):
        assert (type(made), made.offset) == (type(real), real.offset) == (type(real), tokens)
        assert (made.keys.shape, made.values.shape) == (real.keys.shape, real.values.shape)
        assert (made.keys.dtype, made.nbytes) == (real.keys.dtype, real.nbytes)


@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("tokens", [2, 3 * WINDOW + 1, 600])
def test_whatever_a_model_remembers_random_caches_are_shaped_like_prefilled_ones(
    kind: str, tokens: int, tokenizer: Any
) -> None:
    model = make_model(kind)
    real, made = (fill_cache(model, tokenizer, tokens, how, seed=1) for how in reversed(CacheFill))
    assert list(map(_shapes, made)) == list(map(_shapes, real))
    assert not mx.any(mx.isnan(model(mx.array([[1]]), cache=made)))


def _shapes(cache: Any) -> list[Any]:
    leaves: list[tuple[str, Any]] = tree_flatten(cache.state)  # type: ignore[assignment]
    return [
        (type(cache), path, (leaf.shape, leaf.dtype) if isinstance(leaf, mx.array) else leaf)
        for path, leaf in leaves
    ]


def test_another_seed_fills_with_other_values(tokenizer: Any) -> None:
    model = make_model("llama")
    for how in CacheFill:
        one, other = (fill_cache(model, tokenizer, 30, how, seed) for seed in (1, 2))
        assert not mx.array_equal(one[0].keys, other[0].keys)
        again = fill_cache(model, tokenizer, 30, how, 1)
        assert mx.array_equal(one[0].keys, again[0].keys)


def test_requests_differ_within_a_round_and_between_rounds() -> None:
    texts = [request.text for seed in range(3) for request in requests(4, 32, 8, seed)]
    assert len(set(texts)) == 12
    assert requests(4, 32, 8, seed=1) == requests(4, 32, 8, seed=1)

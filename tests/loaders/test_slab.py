"""One memory for every model: who may overwrite whom, and what is read while the old one serves."""

import gc
from pathlib import Path

import mlx.core as mx
import pytest

from swapbench.loaders.arrays import HeldError, UnfitError, shards_of
from swapbench.loaders.slab import Slab, room_for
from tests.loaders.conftest import Tensor, bits, write_checkpoint
from tests.loaders.test_sources import assert_same


def model(folder: Path, kib: int, seed: int) -> Path:
    return write_checkpoint(folder, [[Tensor("U8", (1024,))] * kib], seed=seed)


def bring(slab: Slab, checkpoint: Path, direct: bool = False) -> dict[str, mx.array]:
    arrival = slab.begin(checkpoint, direct=direct)
    arrival.wait()
    mx.eval(list(arrival.weights.values()))
    return arrival.weights


@pytest.mark.parametrize("direct", [False, True])
def test_models_follow_one_another_in_the_same_memory(tmp_path: Path, direct: bool) -> None:
    models = [model(tmp_path / str(n), kib, n) for n, kib in enumerate((300, 500, 10))]
    slab = Slab()
    slab.reserve(room_for(shards_of(models[1])))
    kept = slab.kept_bytes
    for checkpoint in models * 3:
        weights = bring(slab, checkpoint, direct)
        assert_same(weights, checkpoint)
        del weights
    assert slab.kept_bytes == kept


def test_a_slab_that_no_array_could_be_is_refused_before_anything_is_given_up(tmp_path: Path) -> None:
    slab, small = Slab(), model(tmp_path / "s", 10, 1)
    bring(slab, small)
    gc.collect()
    with pytest.raises(UnfitError, match=r"a slab of 17\.18 GB is more than one buffer may have, 17\.18 GB"):
        slab.reserve(16 << 30)
    assert slab.kept_bytes


def test_a_larger_model_makes_it_grow(tmp_path: Path) -> None:
    slab, small, large = Slab(), model(tmp_path / "s", 10, 1), model(tmp_path / "l", 5000, 2)
    bring(slab, small)
    before = slab.kept_bytes
    assert_same(bring(slab, large), large)
    assert slab.kept_bytes > before


def test_nobody_is_overwritten_under_whom_the_old_model_is_held(tmp_path: Path) -> None:
    slab, old, new = Slab(), model(tmp_path / "o", 100, 1), model(tmp_path / "n", 100, 2)
    weights = bring(slab, old)
    held = {"1.7": weights["1.7"]}
    wanted = bits(weights["1.7"])
    del weights
    with pytest.raises(HeldError, match="1 arrays"):
        slab.begin(new, direct=False)
    assert bits(held["1.7"]) == wanted
    held.clear()
    gc.collect()
    assert_same(bring(slab, new), new)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(("old_kib", "new_kib"), [(400, 500), (500, 400), (500, 500), (20, 500), (500, 20)])
def test_what_is_read_ahead_leaves_the_old_model_as_it_is(
    tmp_path: Path, old_kib: int, new_kib: int, direct: bool
) -> None:
    old, new = model(tmp_path / "o", old_kib, 1), model(tmp_path / "n", new_kib, 2)
    slab = Slab()
    slab.reserve(int(room_for(shards_of(model(tmp_path / "l", 500, 3))) * 1.1))
    for one, other in [(old, new), (new, old)] * 2:
        weights = bring(slab, one, direct)
        slab.read_ahead(other, direct=direct)
        slab._ahead.reading.wait()  # type: ignore[union-attr]
        assert_same(weights, one)
        del weights
        arrival = slab.begin(other, direct=direct)
        assert arrival.ahead_bytes > 0
        arrival.wait()
        mx.eval(list(arrival.weights.values()))
        assert_same(arrival.weights, other)
        del arrival


def test_a_read_ahead_for_another_model_is_forgotten(tmp_path: Path) -> None:
    models = [model(tmp_path / str(n), 200, n) for n in range(3)]
    slab = Slab()
    slab.reserve(3 * room_for(shards_of(models[0])))
    weights = bring(slab, models[0])
    slab.read_ahead(models[1], direct=False)
    del weights
    assert_same(bring(slab, models[2]), models[2])


def test_without_room_nothing_is_read_ahead(tmp_path: Path) -> None:
    slab, small, large = Slab(), model(tmp_path / "s", 10, 1), model(tmp_path / "l", 900, 2)
    weights = bring(slab, small)
    slab.read_ahead(large, direct=False)
    assert_same(weights, small)
    del weights
    arrival = slab.begin(large, direct=False)
    assert arrival.ahead_bytes == 0
    arrival.wait()
    assert_same(arrival.weights, large)

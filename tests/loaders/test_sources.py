"""Every way to bring weights brings the bytes that mx.load would, whatever the files, or says why not."""

import sys
from importlib import import_module
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swapbench.loaders.arrays import Source, UnfitError, shards_of
from swapbench.loaders.mapped import map_files
from swapbench.loaders.slab import Slab
from swapbench.spec.strategy import LOADERS, NAMED
from tests.loaders.conftest import ITEM_BYTES, Tensor, bits, write_checkpoint

KINDS = tuple(name for name in LOADERS if name not in ("stock", "reuse", "auto"))


def source(kind: str) -> Source:
    """As the module that declares it has it."""
    module = import_module(f"swapbench.loaders.{LOADERS[kind].module}")
    found: Source = module.sources(NAMED[kind], Slab())[kind]
    return found


def expected(checkpoint: Path) -> dict[str, mx.array]:
    arrays: dict[str, mx.array] = {}
    for path in sorted(checkpoint.glob("model*.safetensors")):
        loaded = mx.load(str(path))
        assert isinstance(loaded, dict)
        arrays |= loaded
    return arrays


def assert_same(weights: dict[str, mx.array], checkpoint: Path) -> None:
    wanted = expected(checkpoint)
    assert weights.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (weights[name].shape, weights[name].dtype) == (array.shape, array.dtype), name
        assert bits(weights[name]) == bits(array), name


def brought(kind: str, checkpoint: Path) -> dict[str, mx.array]:
    arrival = source(kind)(checkpoint)
    arrival.wait()
    mx.eval(list(arrival.weights.values()))
    return arrival.weights


TENSORS = st.builds(
    Tensor, st.sampled_from(sorted(ITEM_BYTES)), st.lists(st.integers(0, 40), max_size=3).map(tuple)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(TENSORS, min_size=1, max_size=6), min_size=1, max_size=3),
    spaces=st.integers(0, 70),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_layout_comes_bit_for_bit_or_is_refused_for_its_alignment(
    kind: str, shards: list[list[Tensor]], spaces: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("any"), shards, spaces, seed)
    files = shards_of(checkpoint)
    fits = {
        "fill": True,
        "slab": all(shard.aligned(0) for shard in files),
        "direct": all(shard.aligned(0) for shard in files),
        "map": all(shard.aligned(shard.data_start) for shard in files),
    }
    if fits[kind]:
        assert_same(brought(kind, checkpoint), checkpoint)
    else:
        with pytest.raises(UnfitError, match="aligned"):
            brought(kind, checkpoint)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_every_type_comes_bit_for_bit(kind: str, dtype: str, tmp_path: Path) -> None:
    shards = [[Tensor(dtype, (64, 8)), Tensor(dtype, (8,)), Tensor(dtype, ())] for _ in range(2)]
    checkpoint = write_checkpoint(tmp_path, shards)
    # Spaces that bring the data to a multiple of any item's size.
    length = int.from_bytes((tmp_path / "model-00001-of-00002.safetensors").read_bytes()[:8], "little")
    assert_same(brought(kind, write_checkpoint(checkpoint, shards, spaces=-length % 8)), checkpoint)


@pytest.mark.parametrize("kind", ["fill", "slab", "direct"])
def test_a_header_of_odd_length_is_no_hindrance_to_those_that_copy(kind: str, tmp_path: Path) -> None:
    shards = [[Tensor("U32", (1000, 100)), Tensor("BF16", (999,))]]
    for spaces in range(8):
        checkpoint = write_checkpoint(tmp_path / str(spaces), shards, spaces)
        assert_same(brought(kind, checkpoint), checkpoint)


def test_map_says_what_to_do_about_a_header_of_odd_length(tmp_path: Path) -> None:
    shards = [[Tensor("U32", (10,))]]
    length = int.from_bytes(
        next(write_checkpoint(tmp_path, shards).iterdir()).read_bytes()[:8],
        "little",
    )
    checkpoint = write_checkpoint(tmp_path, shards, spaces=-length % 8 + 1)
    with pytest.raises(UnfitError, match="swapbench models repack"):
        map_files(checkpoint)


@pytest.mark.parametrize("kind", KINDS)
def test_files_larger_than_a_piece_and_a_page_come_whole(kind: str, tmp_path: Path) -> None:
    shards = [[Tensor("U32", (2_500_000,)), Tensor("BF16", (1_000_003,)), Tensor("U8", (5,))]]
    length = int.from_bytes(next(write_checkpoint(tmp_path, shards).iterdir()).read_bytes()[:8], "little")
    checkpoint = write_checkpoint(tmp_path, shards, spaces=-length % 8)
    assert_same(brought(kind, checkpoint), checkpoint)


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_that_only_mlx_lm_might_know_is_refused(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[Tensor("U8", (8,))]]) / "model-00001-of-00001.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"U8"', b'"X8"'))
    with pytest.raises(UnfitError, match="X8"):
        source(kind)(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_in_two_files_is_refused(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, [[Tensor("U8", (8,))]]) / "model-00001-of-00001.safetensors"
    (tmp_path / "model-twin.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(UnfitError, match="one name"):
        source(kind)(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not list a process's mappings to it")
def test_mapped_memory_is_unmapped_with_its_arrays(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, [[Tensor("U8", (1 << 20,))]])
    for _ in range(20):
        weights = brought("map", checkpoint)
        assert mappings_of(checkpoint) > 0
        del weights
        mx.clear_cache()
        assert mappings_of(checkpoint) == 0


def mappings_of(checkpoint: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(checkpoint))

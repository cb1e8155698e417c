"""Values and files of stand-ins: plausible, the same for the same seed, laid out as mlx-lm would."""

import json
import zlib
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from swapbench.models.stand_ins.shards import (
    WEIGHT_STD,
    PlannedShard,
    Tensor,
    Values,
    blocks,
    centring,
    index,
    normal,
    plan,
    same,
    scales,
    words,
    write,
)


def drawn(values: Values, dtype: str, count: int, seed: int = 1) -> bytes:
    return b"".join(bytes(block) for block in blocks(values, dtype, count, seed))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_quantised_weights_dequantise_to_small_numbers_around_zero(bits: int) -> None:
    rows, columns, group = 64, 512, 64
    packed = np.frombuffer(drawn(words(), "U32", rows * columns * bits // 32), np.uint32)
    steps = np.frombuffer(drawn(scales(bits), "F32", rows * columns // group), np.float32)
    biases = np.frombuffer(drawn(scales(bits, centring(bits)), "F32", rows * columns // group), np.float32)
    weights = mx.dequantize(
        mx.array(packed.reshape(rows, -1)),
        mx.array(steps.reshape(rows, -1)),
        mx.array(biases.reshape(rows, -1)),
        group_size=group,
        bits=bits,
    )
    assert abs(float(weights.mean())) < WEIGHT_STD / 20
    assert 0.8 * WEIGHT_STD < float(mx.std(weights)) < 1.3 * WEIGHT_STD


def test_bfloat16_is_rounded_to_nearest_as_mlx_does() -> None:
    exact = np.frombuffer(drawn(normal(1.0, 0.5), "F32", 10_000), np.float32)
    stored = np.frombuffer(drawn(normal(1.0, 0.5), "BF16", 10_000), np.uint16)
    expected = mx.array(exact).astype(mx.bfloat16).view(mx.uint16)
    assert np.array_equal(stored, np.array(expected))


def test_equal_seeds_give_equal_bytes_and_others_others() -> None:
    assert drawn(words(), "U32", 1000, seed=3) == drawn(words(), "U32", 1000, seed=3)
    assert drawn(words(), "U32", 1000, seed=3) != drawn(words(), "U32", 1000, seed=4)


def test_weights_do_not_compress() -> None:
    data = drawn(words(), "U32", 1 << 18)
    assert len(zlib.compress(data, 1)) > 0.99 * len(data)


@given(count=st.integers(1, 5000), dtype=st.sampled_from(["BF16", "F16", "F32"]))
def test_there_are_as_many_bytes_as_the_shape_wants(count: int, dtype: str) -> None:
    assert len(drawn(normal(0.0, 1.0), dtype, count)) == count * (4 if dtype == "F32" else 2)


def test_masked_words_and_constant_scales_keep_block_formats_finite() -> None:
    packed = np.frombuffer(drawn(words(mask=0xBFBFBFBF), "U32", 512), np.uint32).reshape(16, 32)
    steps = np.frombuffer(drawn(same(122), "U8", 16 * 4), np.uint8).reshape(16, 4)
    weights = mx.dequantize(mx.array(packed), mx.array(steps), group_size=32, bits=8, mode="mxfp8")
    assert bool(mx.all(mx.isfinite(weights.astype(mx.float32))))


def tensor(name: str, *shape: int, dtype: str = "F32") -> Tensor:
    return Tensor(name, shape, dtype, normal(0.0, 1.0), name)


def test_a_single_shard_has_the_plain_name() -> None:
    assert [shard.file_name for shard in plan([tensor("a", 4)])] == ["model.safetensors"]


def test_shards_are_numbered_of_their_count() -> None:
    planned = plan([tensor(name, 100) for name in "abc"], limit_bytes=1200)
    assert [shard.file_name for shard in planned] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    limit_bytes=st.integers(2500, 10_000),
)
def test_no_shard_is_over_the_limit_and_no_tensor_is_lost(sizes: list[int], limit_bytes: int) -> None:
    tensors = [tensor(f"layer.{number}.weight", size) for number, size in enumerate(sizes)]
    planned = plan(tensors, limit_bytes)
    assert [t for shard in planned for t in shard.tensors] == tensors
    assert all(shard.nbytes <= limit_bytes for shard in planned)


def test_a_tensor_over_the_limit_has_a_shard_to_itself() -> None:
    planned = plan([tensor("a", 10), tensor("big", 5000), tensor("z", 10)], limit_bytes=2000)
    assert [[t.name for t in shard.tensors] for shard in planned] == [["a"], ["big"], ["z"]]


def test_what_is_written_is_read_back_by_safetensors(tmp_path: Path) -> None:
    planned = plan([tensor("a", 3, 5), tensor("b", 7, dtype="F16")])
    told: list[int] = []
    write(planned, tmp_path, "seed", told.append)
    path = tmp_path / "model.safetensors"
    loaded = load_file(path)
    assert {name: (array.shape, array.dtype) for name, array in loaded.items()} == {
        "a": ((3, 5), np.dtype("float32")),
        "b": ((7,), np.dtype("float16")),
    }
    assert all(np.isfinite(array).all() for array in loaded.values())
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "mlx"}
    assert sum(told) == path.stat().st_size == planned[0].nbytes


def test_the_index_names_each_tensors_file(tmp_path: Path) -> None:
    planned = plan([tensor(name, 100) for name in "cab"], limit_bytes=1200)
    write(planned, tmp_path, "seed", lambda _: None)
    written = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert written == index(planned)
    assert list(written["weight_map"]) == ["a", "b", "c"]
    assert written["metadata"] == {"total_size": 1200}


@pytest.mark.parametrize("name", ["weight", "größe", "x" * 200])
def test_headers_keep_the_data_aligned(name: str) -> None:
    shard = PlannedShard("model.safetensors", (tensor(name, 3),))
    assert len(shard.header) % 8 == 0

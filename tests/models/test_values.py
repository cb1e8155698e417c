import zlib

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.models.values import WEIGHT_STD, Normal, Same, Scales, Values, Words, blocks, centring


def drawn(values: Values, dtype: str, count: int, seed: int = 1) -> bytes:
    return b"".join(bytes(block) for block in blocks(values, dtype, count, seed))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_quantised_weights_dequantise_to_small_numbers_around_zero(bits: int) -> None:
    rows, columns, group = 64, 512, 64
    words = np.frombuffer(drawn(Words(), "U32", rows * columns * bits // 32), np.uint32)
    scales = np.frombuffer(drawn(Scales(bits), "F32", rows * columns // group), np.float32)
    biases = np.frombuffer(drawn(Scales(bits, centring(bits)), "F32", rows * columns // group), np.float32)
    weights = mx.dequantize(
        mx.array(words.reshape(rows, -1)),
        mx.array(scales.reshape(rows, -1)),
        mx.array(biases.reshape(rows, -1)),
        group_size=group,
        bits=bits,
    )
    assert abs(float(weights.mean())) < WEIGHT_STD / 20
    assert 0.8 * WEIGHT_STD < float(mx.std(weights)) < 1.3 * WEIGHT_STD


def test_bfloat16_is_rounded_to_nearest_as_mlx_does() -> None:
    exact = np.frombuffer(drawn(Normal(1.0, 0.5), "F32", 10_000), np.float32)
    stored = np.frombuffer(drawn(Normal(1.0, 0.5), "BF16", 10_000), np.uint16)
    expected = mx.array(exact).astype(mx.bfloat16).view(mx.uint16)
    assert np.array_equal(stored, np.array(expected))


def test_equal_seeds_give_equal_bytes_and_others_others() -> None:
    assert drawn(Words(), "U32", 1000, seed=3) == drawn(Words(), "U32", 1000, seed=3)
    assert drawn(Words(), "U32", 1000, seed=3) != drawn(Words(), "U32", 1000, seed=4)


def test_weights_do_not_compress() -> None:
    data = drawn(Words(), "U32", 1 << 18)
    assert len(zlib.compress(data, 1)) > 0.99 * len(data)


@given(count=st.integers(1, 5000), dtype=st.sampled_from(["BF16", "F16", "F32"]))
def test_there_are_as_many_bytes_as_the_shape_wants(count: int, dtype: str) -> None:
    assert len(drawn(Normal(0.0, 1.0), dtype, count)) == count * (4 if dtype == "F32" else 2)


def test_masked_words_and_constant_scales_keep_block_formats_finite() -> None:
    words = np.frombuffer(drawn(Words(mask=0xBFBFBFBF), "U32", 512), np.uint32).reshape(16, 32)
    scales = np.frombuffer(drawn(Same(122), "U8", 16 * 4), np.uint8).reshape(16, 4)
    weights = mx.dequantize(mx.array(words), mx.array(scales), group_size=32, bits=8, mode="mxfp8")
    assert bool(mx.all(mx.isfinite(weights.astype(mx.float32))))

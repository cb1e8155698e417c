import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from swapbench.models.shards import Shard, Tensor, index, plan, write
from swapbench.models.values import Normal


def tensor(name: str, *shape: int, dtype: str = "F32") -> Tensor:
    return Tensor(name, shape, dtype, Normal(0.0, 1.0), name)


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
    shard = Shard("model.safetensors", (tensor(name, 3),))
    assert len(shard.header) % 8 == 0

"""What a folder's files say: headers, and what is missing of a checkpoint, by its own files alone."""

import json
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.models.checkpoint import (
    Fault,
    HeaderError,
    TensorEntry,
    damaged,
    looks_whole,
    missing_files,
    read_header,
    weight_bytes,
)
from swapbench.models.stand_ins.shards import Tensor, normal, plan, write

GOOD = {
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "U8", "shape": [4], "data_offsets": [12, 16]},
}


def headed(folder: Path, header: Any, data_bytes: int = 16) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data_bytes))
    return path


def complaint(path: Path) -> str:
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    return str(caught.value)


def test_tensors_are_told_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "mlx"}, "b": GOOD["b"], "a": GOOD["a"]}
    assert read_header(headed(tmp_path, header)) == (
        TensorEntry("a", "BF16", (2, 3), 0, 12),
        TensorEntry("b", "U8", (4,), 12, 16),
    )


@pytest.mark.parametrize(
    ("header", "data_bytes", "says"),
    [
        (GOOD, 15, "is cut short: b ends 1 bytes beyond it"),
        (b"{", 16, "has a header of 1 bytes"),
        (b"nonsense", 16, "it is not JSON"),
        (b"[" * 5000, 16, "it is not JSON"),
        ([1, 2], 16, "it is no table of tensors"),
        ({"a": {"dtype": "U8"}}, 16, "a is no tensor"),
        ({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, 1, "a is no tensor"),
        ({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, 1, "a is no tensor"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, 4, "a is no tensor"),
        ({"a": GOOD["a"] | {"shape": [2, 4]}, "b": GOOD["b"]}, 16, "a has other bytes than its shape takes"),
        ({"a": {"dtype": "U8", "shape": [1 << 60] * 40, "data_offsets": [0, 1]}}, 1, "a has other bytes"),
        (GOOD | {"__metadata__": {"total": 3}}, 16, "has a __metadata__ that is no table of texts"),
        (GOOD | {"__metadata__": [1]}, 16, "has a __metadata__ that is no table of texts"),
    ],
)
def test_what_is_wrong_is_said(header: Any, data_bytes: int, says: str, tmp_path: Path) -> None:
    assert says in complaint(headed(tmp_path, header, data_bytes))


def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 123\n")
    assert complaint(path).startswith("is a pointer of Git LFS")


LAYOUTS: dict[str, tuple[Any, int]] = {
    "as written": (GOOD, 16),
    "bytes after the last tensor": (GOOD, 40),
    "a gap": (GOOD | {"b": GOOD["b"] | {"data_offsets": [20, 24]}}, 24),
    "an overlap": (GOOD | {"b": GOOD["b"] | {"data_offsets": [8, 12]}}, 16),
    "filled up with NUL": (json.dumps(GOOD).encode() + bytes(7), 16),
    "something after a NUL": (json.dumps(GOOD).encode() + b"\0}}", 16),
    "filled up with spaces": (json.dumps(GOOD).encode() + b" " * 7, 16),
    "no tensors": ({}, 0),
    "metadata that is null": (GOOD | {"__metadata__": None}, 16),
    "a number in the metadata": (GOOD | {"__metadata__": {"total": 3}}, 16),
    "a table in the metadata": (GOOD | {"__metadata__": {"total": {}}}, 16),
    "metadata that is a number": (GOOD | {"__metadata__": 3}, 16),
    "a byte too few": (GOOD, 15),
    "no JSON": (json.dumps(GOOD).encode() + b"xyz", 16),
    "a tensor of other bytes than its shape": ({"a": GOOD["a"] | {"shape": [7]}}, 12),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_mx_load_takes_is_taken_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = headed(tmp_path, *LAYOUTS[name])
    try:
        arrays = mx.load(str(path))
    except RuntimeError:
        assert complaint(path)
    else:
        assert {entry.name: entry.shape for entry in read_header(path)} == {
            key: array.shape
            for key, array in arrays.items()  # type: ignore[union-attr]
        }


@pytest.mark.parametrize("data", [b"", b"1234567", struct.pack("<Q", 1 << 63) + b"x", bytes(8)])
def test_a_file_without_a_whole_header_is_no_safetensors_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert complaint(path)


@given(data=st.binary(max_size=400), at=st.integers(0, 300), patch=st.binary(min_size=1, max_size=40))
def test_whatever_a_file_says_no_tensor_lies_beyond_it_and_nothing_else_is_raised(
    data: bytes, at: int, patch: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = headed(folder, GOOD)
    whole = bytearray(path.read_bytes())
    whole[at : at + len(patch)] = patch
    for content in (data, bytes(whole)):
        path.write_bytes(content)
        with suppress(HeaderError):
            assert all(entry.end <= len(content) for entry in read_header(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two shards, as far as files go."""
    tensors = [Tensor(name, (100,), "F32", normal(0, 1), name) for name in "ab"]
    write(plan(tensors, limit_bytes=800), tmp_path, "seed", lambda _: None)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text('{"model_type": "llama"}')
    return tmp_path


def test_a_whole_checkpoint_looks_so(folder: Path) -> None:
    assert damaged(folder) is None
    assert looks_whole(folder)
    assert weight_bytes(folder) == sum(path.stat().st_size for path in folder.glob("model-*.safetensors"))


def test_a_checkpoint_without_config_or_weights_says_so(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    assert damaged(folder) == Fault("it has no weights (model*.safetensors)")
    (folder / "config.json").unlink()
    assert damaged(folder) == Fault("config.json is missing")


@pytest.mark.parametrize("kept_bytes", [0, 4, 60, 300])
def test_a_shard_that_is_cut_short_is_noticed(folder: Path, kept_bytes: int) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept_bytes])
    assert str(damaged(folder)).startswith("model-00001-of-00002.safetensors is cut short")


def test_a_link_that_leads_nowhere_is_a_missing_shard(folder: Path) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(folder / "blobs" / "gone")
    assert damaged(folder) == Fault("model-00001-of-00002.safetensors is missing")


@pytest.mark.parametrize("indexed", [True, False])
def test_a_shard_of_a_series_that_is_not_there_is_named(folder: Path, indexed: bool) -> None:
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert missing_files(folder) == ("model-00001-of-00002.safetensors",)
    assert not looks_whole(folder)


def test_without_one_of_the_usual_tokenizer_files_it_does_not_look_whole(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert not looks_whole(folder)


def test_an_index_with_tensors_that_no_file_has_does_not_look_whole(folder: Path) -> None:
    named = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))
    assert missing_files(folder) == ()
    assert not looks_whole(folder)


def test_an_index_can_not_point_outside_its_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "model.safetensors"
    shutil.copy(folder / "model-00001-of-00002.safetensors", outside)
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": "{outside}"}}}}')
    assert missing_files(folder) == ("model.safetensors",)


@pytest.mark.parametrize(
    ("shard", "named"), [("a\0b", "a?b"), ("a\nb", "a?b"), ("../../etc/passwd", "passwd")]
)
def test_an_index_may_name_anything_and_only_files_of_the_checkpoint_are_looked_for(
    folder: Path, shard: str, named: str
) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert missing_files(folder) == (named,)


def test_an_index_nested_beyond_reason_counts_as_none(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[" * 100_000)
    assert looks_whole(folder)

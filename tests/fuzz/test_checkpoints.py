"""Spoilt headers and indexes end in facts or in a clause, and nothing outside the checkpoint is looked at."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.models.checkpoint import HeaderError, looks_whole, missing_files, read_header
from tests.fuzz.mutations import spoilt

pytestmark = pytest.mark.fuzz

HEADER = json.dumps(
    {
        "__metadata__": {"format": "mlx"},
        "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "b": {"dtype": "U8", "shape": [4], "data_offsets": [12, 16]},
    }
).encode()
SHARD = struct.pack("<Q", len(HEADER)) + HEADER + bytes(16)
INDEX = json.dumps(
    {"metadata": {}, "weight_map": {"a": "model-a.safetensors", "b": "model-b.safetensors"}}
).encode()

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_names = st.sampled_from(
    [
        "model-a.safetensors",
        "../outside.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\0b",
        "x" * 300,
        "sub/x",
    ]
)


@given(data=st.one_of(st.binary(max_size=300), spoilt(SHARD)))
def test_a_spoilt_shard_ends_in_tensors_within_it_or_in_a_clause(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(data)
    with suppress(HeaderError):
        assert all(entry.end <= len(data) for entry in read_header(path))


@given(
    index=st.one_of(
        spoilt(INDEX),
        st.dictionaries(st.text(max_size=5), _names | _json, max_size=5).map(
            lambda names: json.dumps({"weight_map": names}).encode()
        ),
        _json.map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_spoilt_index_names_files_of_the_checkpoint_alone(
    index: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = _checkpoint(tmp_path_factory)
    (folder / "model.safetensors.index.json").write_bytes(index)
    missing = missing_files(folder)
    assert not any("/" in name or "\n" in name for name in missing)
    # A shard elsewhere would count as there.
    assert not looks_whole(folder) or not missing


def _checkpoint(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "fuzzed-checkpoint"
    if not folder.exists():
        folder.mkdir()
        for name, content in _FILES.items():
            (folder / name).write_bytes(content)
        (folder.parent / "outside.safetensors").write_bytes(SHARD)
    return folder


_FILES: dict[str, Any] = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model-a.safetensors": SHARD,
    "model-b.safetensors": SHARD,
}

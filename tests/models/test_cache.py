"""A checkpoint's digest is of every byte, and is found once."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swapbench.models import cache as cached
from swapbench.models.cache import checkpoint_digest, undigested
from tests.worker.engine.conftest import tag_file

WEIGHTS = bytes(range(256)) * 40


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(WEIGHTS) - 1), bit=st.integers(0, 7))
def test_no_edit_of_a_single_bit_is_missed(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> None:
    edited = bytearray(WEIGHTS)
    edited[at] ^= 1 << bit
    one = tag_file(tmp_path_factory.mktemp("one") / "model", WEIGHTS)
    other = tag_file(tmp_path_factory.mktemp("other") / "model", bytes(edited))
    assert checkpoint_digest(one) != checkpoint_digest(other)


def test_a_file_is_read_once_and_again_when_it_has_changed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tag_file(tmp_path / "model", WEIGHTS)
    file = folder / "model.safetensors"
    read: list[Path] = []
    original = cached._read
    monkeypatch.setattr(cached, "_read", lambda path: read.append(path) or original(path))  # type: ignore[func-returns-value]
    assert undigested(folder) == file.stat().st_size
    first = checkpoint_digest(folder)
    assert (checkpoint_digest(folder), undigested(folder), read) == (first, 0, [file])
    stat = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert checkpoint_digest(folder) != first
    assert read == [file, file]


def test_another_file_of_the_same_name_size_and_time_is_read(cache: Path, tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "model", WEIGHTS)
    first = checkpoint_digest(folder)
    stat = (folder / "model.safetensors").stat()
    other = tag_file(tmp_path / "other", WEIGHTS[::-1]) / "model.safetensors"
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(folder / "model.safetensors")
    assert checkpoint_digest(folder) != first


def test_what_the_hub_names_by_its_hash_is_not_read(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tag_file(tmp_path / "plain", WEIGHTS)
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0a1b"
    shutil.copytree(plain, snapshot)
    file = snapshot / "model.safetensors"
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
    blob.parent.mkdir()
    file.rename(blob)
    file.symlink_to(Path("../../blobs") / blob.name)
    expected = checkpoint_digest(plain)
    monkeypatch.setattr(cached, "_read", lambda path: pytest.fail(f"{path} was read"))
    assert undigested(snapshot) == 0
    assert checkpoint_digest(snapshot) == expected


def test_where_nothing_can_be_kept_it_is_found_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "file" / "cache"))
    folder = tag_file(tmp_path / "model", WEIGHTS)
    assert checkpoint_digest(folder) == checkpoint_digest(folder)
    assert undigested(folder) > 0


def test_a_spoilt_memory_is_none(cache: Path, tmp_path: Path) -> None:
    folder = tag_file(tmp_path / "model", WEIGHTS)
    expected = checkpoint_digest(folder)
    (kept,) = (cache / "remembered").rglob("*.json")
    for content in ("", "[]", "{}", '{"state": 1}'):
        kept.write_text(content)
        assert checkpoint_digest(folder) == expected

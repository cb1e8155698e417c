"""The page cache of real files."""

import errno
import fcntl
import os
from pathlib import Path

import psutil
import pytest

from swapbench.instruments import page_cache

MIB = 1 << 20


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * (40 * MIB + 123))
    return path


def test_a_primed_file_is_resident_and_an_evicted_one_is_not(big_file: Path) -> None:
    page_cache.prime([big_file])
    assert page_cache.residency([big_file]).share == 1.0
    page_cache.evict([big_file])
    assert page_cache.residency([big_file]).share == 0.0
    page_cache.prime([big_file])
    assert page_cache.residency([big_file]).share == 1.0


def test_half_of_the_files_is_half_of_the_share(big_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "model-2.safetensors"
    other.write_bytes(big_file.read_bytes())
    page_cache.prime([big_file, other])
    page_cache.evict([other])
    assert page_cache.residency([big_file, other]).share == pytest.approx(0.5)


def test_looking_changes_nothing(big_file: Path) -> None:
    page_cache.evict([big_file])
    page_cache.residency([big_file])
    assert page_cache.residency([big_file]).share == 0.0


def test_empty_files_are_resident(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert page_cache.residency([empty]).share == 1.0
    assert page_cache.residency([]).share == 1.0


def test_only_weights_count(tmp_path: Path) -> None:
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    assert [p.name[:11] for p in page_cache.weight_files(tmp_path)] == ["model-00001", "model-00002"]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        page_cache.residency([tmp_path / "missing"])


def test_where_there_is_no_o_direct_the_page_cache_is_told_to_keep_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on macOS; here the seam is the call, which Linux does not know."""
    told: list[tuple[int, int]] = []
    monkeypatch.delattr(os, "O_DIRECT")
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command, value: told.append((command, value)))
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    descriptor = page_cache.open_past(path)
    assert descriptor is not None
    assert os.read(descriptor, 7) == b"weights"
    os.close(descriptor)
    assert told == [(48, 1)]


def test_a_volume_that_will_not_go_past_the_page_cache_has_no_such_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a network volume's does on macOS: F_NOCACHE fails, and the disk stays unknown."""

    def refuse(descriptor: int, command: int, value: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.delattr(os, "O_DIRECT")
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    (tmp_path / "file").write_bytes(b"weights")
    before = len(psutil.Process().open_files())
    assert page_cache.open_past(tmp_path / "file") is None
    assert len(psutil.Process().open_files()) == before

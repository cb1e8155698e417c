"""The machine's limits, measured for real with a small file."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.worker import roofline

MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(roofline, "FILE_BYTES", 64 * MIB)
    with roofline.scratch_file(tmp_path) as path:
        yield path
    assert not list(tmp_path.iterdir())


def test_every_kind_is_measured_three_times(path: Path) -> None:
    rates = list(roofline.measure(path))
    assert {rate.kind for rate in rates} == {"disk", "read_fresh", "read_touched", "copy"}
    assert all(rate.n == 3 and 0 < rate.low <= rate.median <= rate.high for rate in rates)
    assert [rate.how for rate in rates if rate.kind == "disk"] == [f"queue depth {n}" for n in (1, 2, 4, 8)]


def test_what_is_written_to_is_told_by_the_size_of_its_pages(path: Path) -> None:
    pages = {rate.page_bytes for rate in roofline.measure(path) if rate.kind == "read_fresh"}
    assert None not in pages
    if sys.platform == "linux":
        assert 4096 in pages


def test_reading_gets_the_bytes_of_the_file(path: Path) -> None:
    whole = path.read_bytes()
    with roofline._pages(len(whole), huge=None) as buffer:
        roofline._read(path, buffer)
        assert bytes(buffer) == whole
    with roofline._pages(len(whole), huge=None) as buffer:
        roofline._read_cold(path, buffer, 4)
        assert bytes(buffer) == whole


def test_a_disk_without_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(OSError, match=r"too little room to measure in: 0\.1 GB of disk"),
        roofline.scratch_file(tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def _interrupt_where_there_is(path: Path) -> None:
    assert path.exists()
    raise KeyboardInterrupt


def test_the_scratch_file_goes_when_measuring_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "FILE_BYTES", 64 * MIB)
    with pytest.raises(KeyboardInterrupt), roofline.scratch_file(tmp_path) as path:
        _interrupt_where_there_is(path)
    assert not list(tmp_path.iterdir())

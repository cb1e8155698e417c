"""The machine's limits, measured for real with a small file."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.instruments import page_cache
from swapbench.worker import roofline

MIB = 1 << 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file, of which each rate is measured once."""
    for name, value in (("FILE_BYTES", 16 * MIB), ("_LEAST_FILE_BYTES", 16 * MIB), ("_RATE_BUDGET_S", 0.0)):
        monkeypatch.setattr(roofline, name, value)


@pytest.fixture
def scratch(tmp_path: Path, small: None) -> Iterator[roofline.Scratch]:
    with roofline.scratch_file(tmp_path) as scratch:
        yield scratch


def kinds(scratch: roofline.Scratch) -> set[str]:
    return {rate.kind for rate in roofline.measure(scratch)}


def test_every_kind_is_measured_three_times(
    scratch: roofline.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "_RATE_BUDGET_S", 60.0)
    rates = list(roofline.measure(scratch))
    assert {rate.kind for rate in rates} == {"disk", "disk_buffered", "read_fresh", "read_touched", "copy"}
    assert all(rate.n == 3 and 0 < rate.low <= rate.median <= rate.high for rate in rates)
    cold = [(rate.kind, rate.how) for rate in rates if rate.kind.startswith("disk")]
    assert cold == [
        ("disk", "queue depth 1"),
        ("disk", "queue depth 2"),
        ("disk", "queue depth 4"),
        ("disk_buffered", "queue depth 4"),
        ("disk", "queue depth 8"),
    ]


def test_of_cold_reads_only_those_through_the_page_cache_fill_it(scratch: roofline.Scratch) -> None:
    left = {rate.kind: scratch.share() for rate in roofline.measure(scratch) if rate.kind.startswith("disk")}
    assert left == {"disk": 0.0, "disk_buffered": 1.0}


def test_where_there_is_no_time_left_each_is_measured_once(scratch: roofline.Scratch) -> None:
    assert {rate.n for rate in roofline.measure(scratch)} == {1}


def test_a_file_system_without_direct_reads_has_no_disk_to_tell_of(scratch: roofline.Scratch) -> None:
    assert kinds(replace(scratch, direct=None)) == {"read_fresh", "read_touched", "copy"}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="/dev/shm is Linux's file system in memory")
def test_memory_is_not_called_a_disk(small: None) -> None:
    with roofline.scratch_file(Path("/dev/shm")) as scratch:
        assert "disk" not in kinds(scratch)


def test_a_page_cache_that_does_not_go_cold_tells_nothing_of_the_disk(
    scratch: roofline.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "evict", lambda _: None)
    assert scratch.made_warm()
    assert kinds(scratch) == {"read_fresh", "read_touched", "copy"}


def test_a_page_cache_that_does_not_get_warm_tells_nothing_of_warm_reads(
    scratch: roofline.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "prime", lambda _: None)
    assert kinds(scratch) == {"disk", "disk_buffered", "copy"}


def test_pages_that_were_taken_meanwhile_are_read_up_on_before_a_warm_read(scratch: roofline.Scratch) -> None:
    with roofline._pages(scratch.size, huge=None) as buffer:
        assert scratch.made_cold()
        roofline._read_warm(scratch, buffer)
    assert scratch.share() == 1.0


def test_what_is_written_to_is_told_by_the_size_of_its_pages(scratch: roofline.Scratch) -> None:
    pages = {rate.page_bytes for rate in roofline.measure(scratch) if rate.kind == "read_fresh"}
    assert None not in pages
    if sys.platform == "linux":
        assert 4096 in pages


def test_reading_gets_the_bytes_of_the_file(scratch: roofline.Scratch) -> None:
    whole = os.pread(scratch.cached, scratch.size, 0)
    assert len(whole) == 16 * MIB
    with roofline._pages(scratch.size, huge=None) as buffer:
        roofline._read(scratch.cached, buffer)
        assert bytes(buffer) == whole
    assert scratch.direct is not None
    for descriptor, resident in ((scratch.direct, 0.0), (scratch.cached, 1.0)):
        with roofline._pages(scratch.size, huge=None) as buffer:
            roofline._read_cold(scratch, descriptor, buffer, 4)
            assert bytes(buffer) == whole
        assert scratch.share() == resident


def test_a_slow_disk_gets_a_smaller_file(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "FILE_BYTES", 64 * MIB)
    monkeypatch.setattr(roofline, "_WRITE_BUDGET_S", 0.0)
    with roofline.scratch_file(tmp_path) as scratch:
        assert scratch.size == 16 * MIB
        assert os.fstat(scratch.cached).st_size == scratch.size


def test_a_disk_without_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(OSError, match=r"too little room to measure in: 0\.1 GB of disk"),
        roofline.scratch_file(tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_the_scratch_file_can_not_be_left_behind_since_it_has_no_name(
    scratch: roofline.Scratch, tmp_path: Path
) -> None:
    assert scratch.size == 16 * MIB
    assert not list(tmp_path.iterdir())


def test_nor_is_an_empty_one_left_where_it_can_not_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(page_cache, "open_past", refuse)
    with pytest.raises(PermissionError), roofline.scratch_file(tmp_path):
        pass
    assert not list(tmp_path.iterdir())

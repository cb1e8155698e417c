"""The ledgers of this very process."""

import ctypes
import mmap
import sys

import psutil
import pytest

from swapbench.worker.ledgers import _RUsageInfoV4, read_counters, swap_used_bytes, this_process

MIB = 1 << 20


def test_footprint_follows_memory_that_is_touched_and_given_back() -> None:
    process = this_process()
    before = process.footprint_bytes() or 0
    memory = mmap.mmap(-1, 64 * MIB)
    memory[:] = b"x" * (64 * MIB)
    during = process.footprint_bytes() or 0
    memory.close()
    after = process.footprint_bytes() or 0
    assert during - before > 60 * MIB
    assert after - before < 16 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="RSS + swap is the footprint only on Linux")
def test_footprint_is_rss_plus_swap_on_linux() -> None:
    footprint = this_process().footprint_bytes() or 0
    assert footprint == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


def test_available_is_within_the_machines_memory() -> None:
    assert 0 < (this_process().available_bytes() or 0) <= psutil.virtual_memory().total


def test_touching_fresh_memory_is_counted_as_faults() -> None:
    process = this_process()
    before = read_counters(process)
    memory = mmap.mmap(-1, 8 * MIB)
    # 4 KiB pages are not certain: huge ones fault once per 2 MiB, still at least four times.
    memory[:] = b"x" * (8 * MIB)
    delta = read_counters(process).since(before)
    memory.close()
    assert delta.minor_faults >= 4


def test_swap_used_is_what_the_os_says() -> None:
    assert swap_used_bytes() == pytest.approx(psutil.swap_memory().used, abs=64 * MIB)


def test_macs_usage_struct_has_the_layout_of_its_header() -> None:
    # Offsets from <sys/resource.h>: a 16-byte uuid, then 64-bit fields.
    assert _RUsageInfoV4.ri_phys_footprint.offset == 16 + 7 * 8
    assert _RUsageInfoV4.ri_diskio_bytesread.offset == 16 + 16 * 8
    assert ctypes.sizeof(_RUsageInfoV4) == 16 + 35 * 8

"""What the OS says of a process and of the machine."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swapbench.ledgers import Process, _RUsageInfoV4, _VMStatistics64, process, system

MIB = 1 << 20


def this_process() -> Process:
    return process(os.getpid())


def footprint(of: Process) -> int:
    return of.memory().footprint_bytes or 0


def test_footprint_follows_memory_that_is_touched_and_given_back() -> None:
    ours = this_process()
    before = footprint(ours)
    memory = mmap.mmap(-1, 64 * MIB)
    for page in range(0, 64 * MIB, mmap.PAGESIZE):
        memory[page] = 1
    during = footprint(ours)
    memory.close()
    assert during - before > 60 * MIB
    assert footprint(ours) - before < 16 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not tell what of a process is file-backed")
def test_a_mapped_file_is_file_backed_and_no_footprint(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (64 * MIB))
    ours = this_process()
    before = ours.memory()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 64 * MIB // mmap.PAGESIZE * ord("x")
        during = ours.memory()
    assert (during.file_backed_bytes or 0) - (before.file_backed_bytes or 0) > 60 * MIB
    assert (during.footprint_bytes or 0) - (before.footprint_bytes or 0) < 16 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="RSS is split in two only on Linux")
def test_footprint_and_file_backed_pages_are_the_resident_set_on_linux() -> None:
    memory = this_process().memory()
    both = (memory.footprint_bytes or 0) + (memory.file_backed_bytes or 0)
    assert both == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


def test_another_process_can_be_looked_at_until_it_ends() -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        theirs = process(child.pid)
        assert footprint(theirs) > MIB
        child.communicate(b"\n")
    with pytest.raises(ProcessLookupError):
        theirs.memory()


def test_available_is_within_the_machines_memory() -> None:
    assert 0 < (system().memory().available_bytes or 0) <= psutil.virtual_memory().total


def test_swap_used_is_what_psutil_says_too() -> None:
    assert system().swap().used_bytes == pytest.approx(psutil.swap_memory().used, abs=64 * MIB)


def test_what_went_to_swap_only_ever_grows() -> None:
    earlier, later = system().swap().out_bytes, system().swap().out_bytes
    assert 0 <= (earlier or 0) <= (later or 0)


def test_macs_usage_struct_has_the_layout_of_its_header() -> None:
    # Offsets from <sys/resource.h>: a 16-byte uuid, then 64-bit fields.
    assert _RUsageInfoV4.ri_phys_footprint.offset == 16 + 7 * 8
    assert _RUsageInfoV4.ri_diskio_bytesread.offset == 16 + 16 * 8
    assert ctypes.sizeof(_RUsageInfoV4) == 16 + 35 * 8


def test_macs_vm_statistics_have_the_layout_of_their_header() -> None:
    # <mach/vm_statistics.h>: HOST_VM_INFO64_REV1_COUNT is 38 words.
    assert ctypes.sizeof(_VMStatistics64) == 38 * 4
    assert _VMStatistics64.wire.offset == 12
    assert _VMStatistics64.swapouts.offset == 16 + 9 * 8 + 8 + 3 * 8
    assert _VMStatistics64.compressor.offset == 16 + 9 * 8 + 8 + 4 * 8

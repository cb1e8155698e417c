"""What the OS says of a process and of the machine."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swapbench.instruments import ledgers
from swapbench.instruments.ledgers import (
    MacSystem,
    Process,
    ProcessTree,
    _RUsageInfoV4,
    _VMStatistics64,
    process,
    system,
)
from swapbench.machine import mac
from swapbench.wire.swap import Reading
from tests.libproc import Libproc

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
    assert 0 < (system().memory().system_available_bytes or 0) <= psutil.virtual_memory().total


def test_swap_used_is_what_psutil_says_too() -> None:
    assert system().swap().used_bytes == pytest.approx(psutil.swap_memory().used, abs=64 * MIB)


def test_what_went_to_swap_only_ever_grows() -> None:
    earlier, later = system().swap().out_bytes, system().swap().out_bytes
    assert 0 <= (earlier or 0) <= (later or 0)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS is asked by calls")
def test_files_of_the_kernel_are_closed_with_whoever_reads_them() -> None:
    before = psutil.Process().num_fds()
    readers = [process(os.getpid()), system()]
    assert psutil.Process().num_fds() > before
    readers.clear()
    assert psutil.Process().num_fds() == before


def test_macs_usage_struct_has_the_layout_of_its_header() -> None:
    # Offsets from <sys/resource.h>: a 16-byte uuid, then 64-bit fields.
    assert _RUsageInfoV4.ri_phys_footprint.offset == 16 + 7 * 8
    assert _RUsageInfoV4.ri_diskio_bytesread.offset == 16 + 16 * 8
    assert ctypes.sizeof(_RUsageInfoV4) == 16 + 35 * 8


# As macOS 15 prints it on a Mac of 24 GB.
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               32471.
Pages active:                            421063.
Pages inactive:                          418462.
Pages speculative:                         1846.
Pages throttled:                              0.
Pages wired down:                        136493.
Pages purgeable:                           4127.
"Translation faults":                 310263518.
Pages copy-on-write:                   12164424.
Pages zero filled:                    180413064.
Pages reactivated:                      1462113.
Pages purged:                            839017.
File-backed pages:                       294519.
Anonymous pages:                         546852.
Pages stored in compressor:              318250.
Pages occupied by compressor:            110427.
Decompressions:                         2091530.
Swapouts:                                     0.
"""
PAGE = 16384


class MachHost:
    """macOS's calls, which answer with what they are given; of these variables some have 32 bits."""

    def __init__(self, **variables: int) -> None:
        self.variables = variables
        self.mach_host_self = lambda: 7
        self.asked: list[str] = []

    def sysctlbyname(self, name: bytes, value: object, size: object, new: None, length: int) -> int:
        known = self.variables.get(name.decode().removeprefix("vm."))
        if known is None:
            return -1
        ctypes.memmove(value, known.to_bytes(4, "little"), 4)  # type: ignore[arg-type]
        return 0

    def host_statistics64(self, host: object, flavour: int, statistics: object, count: object) -> int:
        self.asked.append("host_statistics64")
        told = ctypes.cast(statistics, ctypes.POINTER(_VMStatistics64))[0]  # type: ignore[arg-type]
        told.wire, told.compressor = 1000, 500
        return 0


def test_a_mac_tells_of_its_memory_by_calls_that_are_not_held_back() -> None:
    host = MachHost(page_free_count=10, page_pageable_external_count=200, page_purgeable_count=3)
    told = MacSystem(host, lambda: pytest.fail("nobody asked for that")).memory()
    assert told == Reading(
        system_available_bytes=213 * mmap.PAGESIZE,
        system_wired_bytes=1000 * mmap.PAGESIZE,
        system_compressed_bytes=500 * mmap.PAGESIZE,
    )
    assert host.asked == ["host_statistics64"]


def test_a_mac_that_lacks_a_variable_does_not_know_what_is_available() -> None:
    assert MacSystem(MachHost(page_free_count=10)).memory().system_available_bytes is None


def test_of_this_very_moment_a_mac_asks_vm_stat() -> None:
    told = MacSystem(MachHost(), lambda: VM_STAT).memory(exact=True)
    assert told.system_available_bytes == (32471 + 294519 + 4127) * PAGE
    assert (told.system_wired_bytes, told.system_compressed_bytes) == (136493 * PAGE, 110427 * PAGE)


@pytest.mark.parametrize("text", ["", "vm_stat: failed", VM_STAT.replace("File-backed", "Filed")])
def test_where_vm_stat_says_something_else_the_calls_have_to_do(text: str) -> None:
    host = MachHost(page_free_count=10, page_pageable_external_count=200, page_purgeable_count=3)
    assert MacSystem(host, lambda: text).memory(exact=True).system_wired_bytes == 1000 * mmap.PAGESIZE


def test_macs_vm_statistics_have_the_layout_of_their_header() -> None:
    # <mach/vm_statistics.h>: HOST_VM_INFO64_REV1_COUNT is 38 words.
    assert ctypes.sizeof(_VMStatistics64) == 38 * 4
    assert _VMStatistics64.wire.offset == 12
    assert _VMStatistics64.swapouts.offset == 16 + 9 * 8 + 8 + 3 * 8
    assert _VMStatistics64.compressor.offset == 16 + 9 * 8 + 8 + 4 * 8


MIB = 1 << 20
HOLDING_CHILD = f"import sys; held = b'x' * (96 * {MIB}); print('ready', flush=True); input()"
PARENT = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {HOLDING_CHILD!r}], stdin=sys.stdin)\n"
    "child.wait()"
)


@pytest.mark.parametrize("macos", [False, True])
def test_what_a_child_of_the_process_holds_is_counted_too(
    macos: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, library, reader = mac.family, Libproc(), type(process(os.getpid()))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        tree = ProcessTree(parent.pid)
        monkeypatch.setattr(mac, "HERE", macos)
        monkeypatch.setattr(mac, "family", lambda pids: family(pids, library))
        monkeypatch.setattr(ledgers, "process", reader)
        reading = tree.read()
        parent.communicate(b"\n")
    assert (reading.footprint_bytes or 0) > 96 * MIB
    assert reading.mlx_active_bytes is None
    assert bool(library.asked) is macos


def test_a_process_that_has_ended_has_no_footprint() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reading = ProcessTree(child.pid).read()
    assert reading.footprint_bytes is None
    assert (reading.system_available_bytes or 0) > 0

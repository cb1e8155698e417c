"""What the OS tells about the memory of a process and of the machine, in microseconds, for worker and parent.

The one place that knows the platform: Linux reads /proc, macOS asks libproc and the Mach host.
"""

import ctypes
import mmap
import os
import re
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil

from swapbench.machine import mac
from swapbench.wire.swap import Reading


@dataclass(frozen=True)
class SwapSpace:
    """Bytes in the machine's swap now, and written to it since boot; None where the OS does not tell."""

    used_bytes: int | None
    out_bytes: int | None


class LinuxProcess:
    """/proc/<pid>, through files held open: a read is one system call and no path lookup."""

    def __init__(self, pid: int) -> None:
        self._status = _held_open(self, f"/proc/{pid}/status")
        # Containers may withhold io; then disk bytes stay unknown.
        io = f"/proc/{pid}/io"
        self._io = _held_open(self, io) if os.access(io, os.R_OK) else None

    def memory(self) -> Reading:
        """Anonymous, shared and swapped-out pages; and those of files. OSError when it is gone."""
        text = os.pread(self._status, 4096, 0)
        ours = _number(text, b"RssAnon:") + _number(text, b"RssShmem:") + _number(text, b"VmSwap:")
        return Reading(footprint_bytes=ours * 1024, file_backed_bytes=_number(text, b"RssFile:") * 1024)

    def disk_read_bytes(self) -> int | None:
        """read_bytes of /proc/<pid>/io: what really came from storage, not from the page cache."""
        return None if self._io is None else _number(os.pread(self._io, 4096, 0), b"\nread_bytes:")


class LinuxSystem:
    """/proc/meminfo and /proc/vmstat."""

    def __init__(self) -> None:
        self._meminfo = _held_open(self, "/proc/meminfo")
        self._vmstat = _held_open(self, "/proc/vmstat")

    def memory(self, *, exact: bool = False) -> Reading:
        """The kernel's own estimate, MemAvailable; it is always of this moment."""
        available = _number(os.pread(self._meminfo, 4096, 0), b"MemAvailable:")
        return Reading(system_available_bytes=available * 1024)

    def swap(self) -> SwapSpace:
        """SwapTotal less SwapFree; pswpout of /proc/vmstat, which counts pages."""
        text = os.pread(self._meminfo, 4096, 0)
        used = (_number(text, b"SwapTotal:") - _number(text, b"SwapFree:")) * 1024
        return SwapSpace(used, _number(os.pread(self._vmstat, 1 << 16, 0), b"\npswpout ") * mmap.PAGESIZE)


def _held_open(owner: object, path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    # Not when the interpreter ends: threads may still read.
    weakref.finalize(owner, os.close, descriptor).atexit = False
    return descriptor


def _number(text: bytes, label: bytes) -> int:
    """The integer after `label`; 0 when the kernel does not print that line."""
    at = text.find(label)
    return int(text[at + len(label) :].split(None, 1)[0]) if at >= 0 else 0


class _RUsageInfoV4(ctypes.Structure):
    """struct rusage_info_v4 of macOS's <sys/resource.h>; what isn't read goes by first and last names."""

    _fields_ = (
        ("ri_uuid", ctypes.c_uint8 * 16),
        ("_user_time_to_resident_size", ctypes.c_uint64 * 7),
        ("ri_phys_footprint", ctypes.c_uint64),
        ("_start_abstime_to_child_elapsed_abstime", ctypes.c_uint64 * 8),
        ("ri_diskio_bytesread", ctypes.c_uint64),
        ("_byteswritten_to_runnable_time", ctypes.c_uint64 * 18),
    )


class MacProcess:
    """macOS through proc_pid_rusage: phys_footprint counts Metal's memory, which RSS under-reports."""

    _FLAVOUR = 4  # RUSAGE_INFO_V4

    def __init__(self, pid: int) -> None:
        self._libproc = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
        self._pid = pid

    def _usage(self) -> _RUsageInfoV4:
        usage = _RUsageInfoV4()
        if self._libproc.proc_pid_rusage(self._pid, self._FLAVOUR, ctypes.byref(usage)):
            raise OSError(ctypes.get_errno(), "proc_pid_rusage failed")
        return usage

    def memory(self) -> Reading:
        """ri_phys_footprint, what Activity Monitor calls Memory and jetsam kills for: no clean file pages."""
        return Reading(footprint_bytes=int(self._usage().ri_phys_footprint))

    def disk_read_bytes(self) -> int | None:
        """ri_diskio_bytesread."""
        return int(self._usage().ri_diskio_bytesread)


class _VMStatistics64(ctypes.Structure):
    """struct vm_statistics64 of macOS's <mach/vm_statistics.h>, as far as its first revision goes."""

    _fields_ = (
        ("_free_active_inactive", ctypes.c_uint32 * 3),
        ("wire", ctypes.c_uint32),
        ("_zero_fill_to_purges", ctypes.c_uint64 * 9),
        ("_purgeable_speculative", ctypes.c_uint32 * 2),
        ("_decompressions_compressions_swapins", ctypes.c_uint64 * 3),
        ("swapouts", ctypes.c_uint64),
        ("compressor", ctypes.c_uint32),
        ("_throttled_external_internal", ctypes.c_uint32 * 3),
        ("_uncompressed_in_compressor", ctypes.c_uint64),
    )


class MacSystem:
    """macOS; its counts are in pages.

    host_statistics64 answers some calls a second afresh, those of all programs together, and the others from
    what it said before, up to a second old (xnu, osfmk/kern/host.c). What is available is therefore asked of
    variables that aren't limited so; wired and compressed pages have none, and vm_stat, which is Apple's,
    alone hears of them as they are.
    """

    _FLAVOUR = 4  # HOST_VM_INFO64

    def __init__(self, libc: Any = None, vm_stat: Callable[[], str] | None = None) -> None:
        self._libc = libc or ctypes.CDLL(None, use_errno=True)
        self._vm_stat = vm_stat or (lambda: mac.printed_by("/usr/bin/vm_stat"))
        self._libc.mach_host_self.restype = ctypes.c_uint32
        # Each call adds a reference to the port: asked for once.
        self._host = self._libc.mach_host_self()

    def memory(self, *, exact: bool = False) -> Reading:
        """Available pages, of this moment; wired ones, and those that the compressor takes, of the last
        second, or `exact`, by vm_stat, of this moment, which may take some milliseconds."""
        if exact and (told := _vm_stat(self._vm_stat())):
            return told
        available = [mac.variable(name, self._libc) for name in mac.AVAILABLE_PAGES]
        pages = self._statistics()
        return Reading(
            system_available_bytes=None if None in available else _bytes(sum(filter(None, available))),
            system_wired_bytes=None if pages is None else _bytes(pages.wire),
            system_compressed_bytes=None if pages is None else _bytes(pages.compressor),
        )

    def swap(self) -> SwapSpace:
        """vm.swapusage; pages that the compressor wrote to its swap files."""
        pages = self._statistics()
        return SwapSpace(psutil.swap_memory().used, None if pages is None else _bytes(pages.swapouts))

    def _statistics(self) -> _VMStatistics64 | None:
        statistics = _VMStatistics64()
        count = ctypes.c_uint32(ctypes.sizeof(statistics) // ctypes.sizeof(ctypes.c_int32))
        failed = self._libc.host_statistics64(
            ctypes.c_uint32(self._host), self._FLAVOUR, ctypes.byref(statistics), ctypes.byref(count)
        )
        return None if failed else statistics


def _bytes(pages: int) -> int:
    return int(pages) * mmap.PAGESIZE


_VM_STAT: Final = {
    "system_available_bytes": ("Pages free", "File-backed pages", "Pages purgeable"),
    "system_wired_bytes": ("Pages wired down",),
    "system_compressed_bytes": ("Pages occupied by compressor",),
}


def _vm_stat(text: str) -> Reading | None:
    """What vm_stat prints, a line a count; None where it isn't that."""
    size = re.search(r"page size of (\d+) bytes", text)
    lines = re.findall(r"^([A-Z][^:]+):\s+(\d+)\.", text, re.MULTILINE)
    pages = {name: int(count) for name, count in lines}
    if size is None or not pages.keys() >= {name for names in _VM_STAT.values() for name in names}:
        return None
    told = {ledger: sum(pages[name] for name in names) for ledger, names in _VM_STAT.items()}
    return Reading(**{ledger: count * int(size[1]) for ledger, count in told.items()})


Process = LinuxProcess | MacProcess
System = LinuxSystem | MacSystem


def process(pid: int) -> Process:
    """The reader of a process that fits this platform.

    Raises:
        OSError: there is no such process, or it may not be looked at.
    """
    return MacProcess(pid) if mac.HERE else LinuxProcess(pid)


def system() -> System:
    """The reader of the machine that fits this platform."""
    return MacSystem() if mac.HERE else LinuxSystem()


class ProcessTree:
    """Sums up a process and its children, without asking any of them.

    Finding children means looking at every process of the machine (Linux); what they hold is one read each.
    """

    def __init__(self, pid: int, look_every_s: float = 2.0) -> None:
        self._pid = pid
        self._look_every_s = look_every_s
        self._known: dict[int, Process] = {}
        self._looked_s = -look_every_s
        self._system = system()

    def read(self, *, exact: bool = False) -> Reading:
        """Footprint and file-backed bytes of the tree, and the machine's ledgers; MLX's stay unknown."""
        if time.monotonic() - self._looked_s >= self._look_every_s:
            self._look()
        held = []
        for pid, known in list(self._known.items()):
            try:
                held.append(known.memory())
            except OSError:  # it has ended
                self._known.pop(pid, None)
        return self._system.memory(exact=exact).model_copy(
            update={
                "footprint_bytes": sum_known([memory.footprint_bytes for memory in held]),
                "file_backed_bytes": sum_known([memory.file_backed_bytes for memory in held]),
            }
        )

    def disk_read_bytes(self) -> int | None:
        """What the disk has delivered to those of the tree that are alive."""
        if not self._known:
            self._look()
        delivered = []
        for known in list(self._known.values()):
            with suppress(OSError):
                delivered.append(known.disk_read_bytes())
        return sum_known(delivered)

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        pids: set[int] = set()
        if mac.HERE:
            pids = mac.family([self._pid])
        else:
            with suppress(psutil.Error):
                children = psutil.Process(self._pid).children(recursive=True)
                pids = {self._pid, *(child.pid for child in children)}
        self._known = {pid: self._known[pid] for pid in pids & self._known.keys()}
        for pid in pids - self._known.keys():
            with suppress(OSError):  # it has ended since
                self._known[pid] = process(pid)


def sum_known(values: Sequence[int | None]) -> int | None:
    """None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None

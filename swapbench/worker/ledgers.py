"""The ledgers of memory and the process counters, read in microseconds, since swaps are measured with it.

The one place that knows the platform: Linux reads /proc, macOS asks libproc. What both offer is `Process`.
"""

import ctypes
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from swapbench.wire import Reading


@dataclass(frozen=True)
class Counters:
    """What the OS has counted for this process since it started; None where it does not tell."""

    minor_faults: int
    major_faults: int
    disk_read_bytes: int | None

    def since(self, earlier: "Counters") -> "Counters":
        """What was counted since `earlier`."""
        disk = None
        if self.disk_read_bytes is not None and earlier.disk_read_bytes is not None:
            disk = self.disk_read_bytes - earlier.disk_read_bytes
        minor = self.minor_faults - earlier.minor_faults
        return Counters(minor, self.major_faults - earlier.major_faults, disk)


class Process(Protocol):
    """What the OS tells about this process and the machine."""

    def footprint_bytes(self) -> int | None:
        """What the OS would kill this process for."""
        ...

    def available_bytes(self) -> int | None:
        """What the machine could still give without swapping."""
        ...

    def obtainable_bytes(self) -> int:
        """The most this process could still take before the OS would rather kill somebody."""
        ...

    def disk_read_bytes(self) -> int | None:
        """Bytes this process has made the disk deliver."""
        ...


class LinuxProcess:
    """/proc, through files held open: a read is one system call and no path lookup."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._meminfo = os.open("/proc/meminfo", os.O_RDONLY)
        # Containers may withhold io; then disk bytes stay unknown.
        self._io = os.open("/proc/self/io", os.O_RDONLY) if os.access("/proc/self/io", os.R_OK) else None

    def footprint_bytes(self) -> int | None:
        """RSS + swap: pages written out still count against the process."""
        text = os.pread(self._status, 4096, 0)
        return (_number(text, b"VmRSS:") + _number(text, b"VmSwap:")) * 1024

    def available_bytes(self) -> int | None:
        """The kernel's own estimate, MemAvailable."""
        return _number(os.pread(self._meminfo, 4096, 0), b"MemAvailable:") * 1024

    def obtainable_bytes(self) -> int:
        """MemAvailable and free swap: beyond these the OOM killer comes."""
        text = os.pread(self._meminfo, 4096, 0)
        return (_number(text, b"MemAvailable:") + _number(text, b"SwapFree:")) * 1024

    def disk_read_bytes(self) -> int | None:
        """read_bytes of /proc/self/io: what really came from storage, not from the page cache."""
        return None if self._io is None else _number(os.pread(self._io, 4096, 0), b"\nread_bytes:")


def _number(text: bytes, label: bytes) -> int:
    """The integer after `label`; 0 when the kernel does not print that line."""
    at = text.find(label)
    return int(text[at + len(label) :].split(None, 1)[0]) if at >= 0 else 0


class _RUsageInfoV4(ctypes.Structure):
    """struct rusage_info_v4 of macOS's <sys/resource.h>."""

    _fields_ = (
        ("ri_uuid", ctypes.c_uint8 * 16),
        *(
            (name, ctypes.c_uint64)
            for name in (
                *("ri_user_time", "ri_system_time", "ri_pkg_idle_wkups", "ri_interrupt_wkups", "ri_pageins"),
                *("ri_wired_size", "ri_resident_size", "ri_phys_footprint", "ri_proc_start_abstime"),
                *("ri_proc_exit_abstime", "ri_child_user_time", "ri_child_system_time"),
                *("ri_child_pkg_idle_wkups", "ri_child_interrupt_wkups", "ri_child_pageins"),
                *("ri_child_elapsed_abstime", "ri_diskio_bytesread", "ri_diskio_byteswritten"),
                *("ri_cpu_time_qos_default", "ri_cpu_time_qos_maintenance", "ri_cpu_time_qos_background"),
                *("ri_cpu_time_qos_utility", "ri_cpu_time_qos_legacy", "ri_cpu_time_qos_user_initiated"),
                *("ri_cpu_time_qos_user_interactive", "ri_billed_system_time", "ri_serviced_system_time"),
                *("ri_logical_writes", "ri_lifetime_max_phys_footprint", "ri_instructions", "ri_cycles"),
                *("ri_billed_energy", "ri_serviced_energy", "ri_interval_max_phys_footprint"),
                "ri_runnable_time",
            )
        ),
    )


class MacProcess:
    """macOS through proc_pid_rusage: phys_footprint counts Metal's memory, which RSS under-reports."""

    _FLAVOUR = 4  # RUSAGE_INFO_V4

    def __init__(self) -> None:
        self._libproc = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
        self._pid = os.getpid()

    def _usage(self) -> _RUsageInfoV4 | None:
        usage = _RUsageInfoV4()
        failed = self._libproc.proc_pid_rusage(self._pid, self._FLAVOUR, ctypes.byref(usage))
        return None if failed else usage

    def footprint_bytes(self) -> int | None:
        """ri_phys_footprint, what Activity Monitor calls Memory and jetsam kills for."""
        usage = self._usage()
        return None if usage is None else int(usage.ri_phys_footprint)

    def available_bytes(self) -> int | None:
        """psutil's inactive + free pages."""
        return psutil.virtual_memory().available

    def obtainable_bytes(self) -> int:
        """All of memory: macOS compresses and swaps others out before it kills, as far as its disk goes."""
        return psutil.virtual_memory().total

    def disk_read_bytes(self) -> int | None:
        """ri_diskio_bytesread."""
        usage = self._usage()
        return None if usage is None else int(usage.ri_diskio_bytesread)


def this_process() -> Process:
    """The reader that fits this platform."""
    return MacProcess() if sys.platform == "darwin" else LinuxProcess()


def read_counters(process: Process) -> Counters:
    """The process counters now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(usage.ru_minflt, usage.ru_majflt, process.disk_read_bytes())


def swap_used_bytes() -> int | None:
    """Swap in use on the whole machine."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        text = meminfo.read_bytes()
        return (_number(text, b"SwapTotal:") - _number(text, b"SwapFree:")) * 1024
    return psutil.swap_memory().used


def read_mlx() -> Reading:
    """MLX's own two ledgers alone: cheap enough to take inside a phase."""
    import mlx.core as mx

    return Reading(mlx_active_bytes=mx.get_active_memory(), mlx_cache_bytes=mx.get_cache_memory())


def read_all(process: Process) -> Reading:
    """All four ledgers."""
    return read_mlx().model_copy(
        update={
            "footprint_bytes": process.footprint_bytes(),
            "system_available_bytes": process.available_bytes(),
        }
    )

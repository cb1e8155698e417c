"""What macOS's own programs and calls say; what isn't told, or isn't there, is empty or None."""

import ctypes
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

HERE: Final = sys.platform == "darwin"

# <libkern/OSThermalNotification.h>
_THERMAL: Final = "com.apple.system.thermalpressurelevel"
_F_FULLFSYNC: Final = 51  # <sys/fcntl.h>
_PRIO_DARWIN_PROCESS: Final = 4  # <sys/resource.h>
_IOPOL_TYPE_DISK: Final = 0
_IOPOL_SCOPE_PROCESS: Final = 0
_SLOW_READS: Final = {3: "throttle", 4: "utility"}  # IOPOL_*
_SLOW_QOS: Final = {0x05: "maintenance", 0x09: "background", 0x11: "utility"}  # <sys/qos.h>
_PIDS: Final = 64

# Free, of files (those read ahead by guess among them), and volatile: had without compressing anything.
AVAILABLE_PAGES: Final = ("vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count")


def printed_by(*command: str) -> str:
    """What a program prints, by its path; empty where it isn't there or takes five seconds."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=5
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def sysctl(name: str) -> str:
    """A kernel's variable, as text."""
    return printed_by("/usr/sbin/sysctl", "-n", name).strip()


def variable(name: str, library: Any = None) -> int | None:
    """A kernel's number, asked without a program; None where there is none of that name."""
    value, size = ctypes.c_uint64(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_uint64))
    failed = (library or _system()).sysctlbyname(
        name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0
    )
    # Some are of 32 bits, some of 64: Macs are little-endian, and the rest stays zero.
    return None if failed else value.value


def release() -> str:
    """As 15.4.1: Python says 16 of macOS 26 when it was built with an older SDK. Empty elsewhere."""
    return printed_by("/usr/bin/sw_vers", "-productVersion").strip() if HERE else ""


@contextmanager
def kept_awake(caffeinate: str = "/usr/bin/caffeinate") -> Iterator[None]:
    """No sleep for want of anybody at the keyboard, which would stop a long run, and its clocks with it.

    Whoever kills this process ends that, too.
    """
    command = [caffeinate, "-i", "-w", str(os.getpid())]
    nothing = subprocess.DEVNULL
    try:
        awake = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing) if HERE else None
    except OSError:  # no Mac is without it
        awake = None
    try:
        yield
    finally:
        if awake is not None:
            awake.terminate()
            awake.wait()


def thermal_pressure(library: Any = None) -> int | None:
    """From 0, nominal, by 1, moderate, 2, heavy, and 3, trapping, to 4, sleeping; by <notify.h>.

    Apple Silicon has no speed limit in per cent, which is what `pmset -g therm` told of Intel's.
    """
    library = library or _system()
    if library is None:
        return None
    token, state = ctypes.c_int(), ctypes.c_uint64()
    if library.notify_register_check(_THERMAL.encode(), ctypes.byref(token)):
        return None
    failed = library.notify_get_state(token, ctypes.byref(state))
    library.notify_cancel(token)
    return None if failed else state.value


def held_back(library: Any = None) -> str:
    """Why the kernel holds this process's reads back; empty where nothing shows, or it isn't macOS.

    All of it is inherited by children. A launchd job's ProcessType Background is its main thread's QoS.
    """
    library = library or _system()
    if library is None:
        return ""
    if library.getpriority(_PRIO_DARWIN_PROCESS, 0) == 1:
        return "in the background, as by `taskpolicy -b`"
    if qos := _SLOW_QOS.get(library.qos_class_main()):
        return f"of {qos} QoS, as a launchd job may be"
    if policy := _SLOW_READS.get(library.getiopolicy_np(_IOPOL_TYPE_DISK, _IOPOL_SCOPE_PROCESS)):
        return f"under the disk policy {policy}, as by `taskpolicy -d`"
    return ""


def family(pids: Iterable[int], library: Any = None) -> set[int]:
    """These processes, and all below them: a call for each that is found; psutil asks for all there are."""
    library = library or ctypes.CDLL("/usr/lib/libproc.dylib")
    left, room = list(pids), _PIDS
    found = set(left)
    while left:
        children = (ctypes.c_int * room)()
        # How many pids it wrote, none when it fails; what has no room it leaves out silently.
        count = library.proc_listchildpids(left[-1], children, ctypes.sizeof(children))
        if count >= room:
            room *= 2
            continue
        left.pop()
        new = set(children[: max(0, count)]) - found
        found |= new
        left += new
    return found


def reaches_the_medium(descriptor: int) -> bool:
    """Have the drive write out what it has cached, too, which fsync leaves undone on macOS; whether it did.

    Volumes over a network and FUSE's refuse that.
    """
    if HERE:
        with suppress(OSError):
            fcntl.fcntl(descriptor, _F_FULLFSYNC)
            return True
    return False


def _system() -> Any:
    return ctypes.CDLL("/usr/lib/libSystem.dylib") if HERE else None

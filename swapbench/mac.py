"""What macOS's own programs and calls say: each by its path, since cron's PATH has but /usr/bin and /bin.

Nothing here fails: what isn't told, or isn't there, is empty or None.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

HERE: Final = sys.platform == "darwin"

# <libkern/OSThermalNotification.h>
_THERMAL: Final = "com.apple.system.thermalpressurelevel"


def printed_by(*command: str) -> str:
    """A program's standard output; empty where it isn't there or takes five seconds."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=5
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def sysctl(name: str) -> str:
    """A kernel's variable, as text."""
    return printed_by("/usr/sbin/sysctl", "-n", name).strip()


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
    """From 0, nominal, by 1, moderate, 2, heavy, and 3, trapping, to 4, sleeping.

    Apple Silicon has no speed limit in per cent, which is what `pmset -g therm` told of Intel's.

    Args:
        library: that has the calls of <notify.h>; the system's by default.
    """
    if library is None:
        if not HERE:
            return None
        library = ctypes.CDLL("/usr/lib/libSystem.dylib")
    token, state = ctypes.c_int(), ctypes.c_uint64()
    if library.notify_register_check(_THERMAL.encode(), ctypes.byref(token)):
        return None
    failed = library.notify_get_state(token, ctypes.byref(state))
    library.notify_cancel(token)
    return None if failed else state.value

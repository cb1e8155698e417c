"""macOS's libproc, imitated."""

import ctypes
from collections.abc import Callable

import psutil


def children_here(pid: int) -> list[int]:
    """What this machine's kernel would write."""
    return [child.pid for child in psutil.Process(pid).children()]


class Libproc:
    """As Apple's libproc.c and proc_info.c: pids as far as there is room for them, the room told in bytes.

    It answers how many it wrote, and 0 where it fails.
    """

    def __init__(self, children: Callable[[int], list[int]] = children_here) -> None:
        self.children = children
        self.asked: list[tuple[int, int]] = []

    def proc_listchildpids(self, pid: int, buffer: object, size: int) -> int:
        self.asked.append((pid, size))
        told = self.children(pid)[: size // ctypes.sizeof(ctypes.c_int)]
        written = (ctypes.c_int * len(told))(*told)
        ctypes.memmove(buffer, written, ctypes.sizeof(written))  # type: ignore[arg-type]
        return len(told)

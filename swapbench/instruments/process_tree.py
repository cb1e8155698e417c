"""A process with all its children, as seen from outside: what they hold even while they are stuck."""

import time
from contextlib import suppress
from typing import Final

import psutil

from swapbench.instruments.ledgers import Process, process, system
from swapbench.machine import mac
from swapbench.wire.events import Reading

# Finding children means looking at every process of the machine (Linux); what they hold is one read each.
_LOOK_FOR_CHILDREN_EVERY_S: Final = 2.0


class ProcessTree:
    """Sums up a process and its children, without asking any of them."""

    def __init__(self, pid: int, look_every_s: float = _LOOK_FOR_CHILDREN_EVERY_S) -> None:
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
        machine = self._system.memory(exact=exact)
        return Reading(
            footprint_bytes=sum(memory.footprint_bytes or 0 for memory in held) if held else None,
            file_backed_bytes=_sum_known([memory.file_backed_bytes for memory in held]),
            system_available_bytes=machine.available_bytes,
            system_wired_bytes=machine.wired_bytes,
            system_compressed_bytes=machine.compressed_bytes,
        )

    def disk_read_bytes(self) -> int | None:
        """What the disk has delivered to those of the tree that are alive."""
        if not self._known:
            self._look()
        delivered = []
        for known in list(self._known.values()):
            with suppress(OSError):
                delivered.append(known.disk_read_bytes())
        return _sum_known(delivered)

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        pids = mac.family([self._pid]) if mac.HERE else _family(self._pid)
        self._known = {pid: self._known[pid] for pid in pids & self._known.keys()}
        for pid in pids - self._known.keys():
            try:
                self._known[pid] = process(pid)
            except OSError:  # it has ended since
                continue


def _family(pid: int) -> set[int]:
    with suppress(psutil.Error):
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return set()


def _sum_known(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None

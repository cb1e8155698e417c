"""The instruments for a server: the ledgers of its process tree, looked at from outside."""

import time
from collections.abc import Sequence
from typing import Final

from swapbench.instruments.ledgers import ProcessTree, SwapSpace, system
from swapbench.machine.energy import NONE, of_this_machine
from swapbench.wire.events import Reading
from swapbench.worker.meter import Counters

# Some servers swap by ending one process and starting another.
_LOOK_EVERY_S: Final = 0.25


class TreeMeter:
    """Sums up the trees of the processes that are watched; of a server elsewhere there is nothing to see.

    Args:
        here: whether the server runs on this machine.
    """

    def __init__(self, here: bool) -> None:
        self._here = here
        self._system = system()
        self.energy = of_this_machine() if here else NONE
        self._trees: tuple[ProcessTree, ...] = ()
        self.pids: tuple[int, ...] = ()
        self.clock_origin_ns = time.perf_counter_ns()

    def watch(self, pids: Sequence[int]) -> None:
        """Look at these processes and their children from now on, and at no others."""
        self.pids = tuple(pids)
        self._trees = tuple(ProcessTree(pid, _LOOK_EVERY_S) for pid in pids)

    def now_s(self) -> float:
        """Seconds since this meter was made."""
        return (time.perf_counter_ns() - self.clock_origin_ns) / 1e9

    def synchronize(self) -> None:
        """An answer that is there has been computed."""

    def read(self, *, exact: bool = False) -> Reading:
        """Footprint and mapped files of the trees, and the machine; MLX's ledgers can't be seen."""
        if not self._here:
            return Reading()
        readings = [tree.read(exact=exact) for tree in self._trees]
        if not readings:
            machine = self._system.memory(exact=exact)
            return Reading(
                system_available_bytes=machine.available_bytes,
                system_wired_bytes=machine.wired_bytes,
                system_compressed_bytes=machine.compressed_bytes,
            )
        return readings[0].model_copy(
            update={
                name: _sum([getattr(reading, name) for reading in readings])
                for name in ("footprint_bytes", "file_backed_bytes")
            }
        )

    def read_inside(self) -> Reading:
        """Nothing: there is no inside."""
        return Reading()

    def counters(self) -> Counters:
        """What the disk delivered to the trees."""
        return Counters(None, None, _sum([tree.disk_read_bytes() for tree in self._trees]))

    def start_peak(self) -> None:
        """The peak is among the samples."""

    def peak_bytes(self) -> int | None:
        """MLX's is not known."""
        return None

    def swap(self) -> SwapSpace:
        """The machine's swap."""
        return self._system.swap() if self._here else SwapSpace(None, None)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None

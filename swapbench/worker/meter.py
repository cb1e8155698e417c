"""What a probe reads: a clock, ledgers, counters; and when memory has come to rest."""

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from swapbench.instruments.ledgers import (
    Process,
    ProcessTree,
    SwapSpace,
    System,
    process,
    sum_known,
    system,
)
from swapbench.machine.energy import NONE, Energy, of_this_machine
from swapbench.wire.swap import Reading


class Counters(NamedTuple):
    """What was counted since the process started; None where nobody tells."""

    minor_faults: int | None
    major_faults: int | None
    disk_read_bytes: int | None

    def since(self, earlier: "Counters") -> "Counters":
        pairs = zip(self, earlier, strict=True)
        return Counters(*(None if now is None or before is None else now - before for now, before in pairs))


class Meter:
    """The instruments of a target; what one doesn't override is not seen by it."""

    # The zero of `now_s` on the machine's monotonic clock; None for a clock of its own.
    clock_origin_ns: int | None
    # What the machine uses; `NONE` where the target runs on another one, or nobody knows on which.
    energy: Energy = NONE

    def __init__(self) -> None:
        self.clock_origin_ns = time.perf_counter_ns()

    def now_s(self) -> float:
        """Seconds on a monotonic clock, since this meter was made."""
        assert self.clock_origin_ns is not None
        return (time.perf_counter_ns() - self.clock_origin_ns) / 1e9

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it: MLX computes lazily."""

    def read(self, *, exact: bool = False) -> Reading:
        """All ledgers; `exact`: the machine's are of this moment, too, which may take some milliseconds."""
        return Reading()

    def read_inside(self) -> Reading:
        """Only what can be read without lengthening a phase."""
        return Reading()

    def counters(self) -> Counters:
        return Counters(None, None, None)

    def start_peak(self) -> None:
        """Forget MLX's peak, so that the next `peak_bytes` is of what follows."""

    def peak_bytes(self) -> int | None:
        """MLX's peak since `start_peak`."""
        return None

    def swap(self) -> SwapSpace:
        return SwapSpace(None, None)


class MlxMeter(Meter):
    """perf_counter_ns, the OS, and MLX's counters. All ledgers take some 40 microseconds on Linux."""

    clock_origin_ns: int

    def __init__(self) -> None:
        import mlx.core as mx

        self._mx = mx
        self._process: Process = process(os.getpid())
        self._system: System = system()
        self.energy = of_this_machine()
        super().__init__()

    def synchronize(self) -> None:
        self._mx.synchronize()

    def read(self, *, exact: bool = False) -> Reading:
        ours = self._process.memory()
        return self._system.memory(exact=exact).model_copy(
            update={
                "mlx_active_bytes": self._mx.get_active_memory(),
                "mlx_cache_bytes": self._mx.get_cache_memory(),
                "footprint_bytes": ours.footprint_bytes,
                "file_backed_bytes": ours.file_backed_bytes,
            }
        )

    def read_inside(self) -> Reading:
        active_bytes, cache_bytes = self._mx.get_active_memory(), self._mx.get_cache_memory()
        return Reading(mlx_active_bytes=active_bytes, mlx_cache_bytes=cache_bytes)

    def counters(self) -> Counters:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Counters(usage.ru_minflt, usage.ru_majflt, self._process.disk_read_bytes())

    def start_peak(self) -> None:
        self._mx.reset_peak_memory()

    def peak_bytes(self) -> int | None:
        return self._mx.get_peak_memory()

    def swap(self) -> SwapSpace:
        return self._system.swap()


# Some servers swap by ending one process and starting another.
_LOOK_EVERY_S: Final = 0.25


class TreeMeter(Meter):
    """Sums up the trees of processes that are watched; of a server not `here` there is nothing to see."""

    clock_origin_ns: int

    def __init__(self, here: bool) -> None:
        self._here = here
        self._system = system()
        if here:
            self.energy = of_this_machine()
        self._trees: tuple[ProcessTree, ...] = ()
        self.pids: tuple[int, ...] = ()
        super().__init__()

    def watch(self, pids: Sequence[int]) -> None:
        """Look at these processes and their children from now on, and at no others."""
        self.pids = tuple(pids)
        self._trees = tuple(ProcessTree(pid, _LOOK_EVERY_S) for pid in pids)

    def read(self, *, exact: bool = False) -> Reading:
        if not self._here:
            return Reading()
        readings = [tree.read(exact=exact) for tree in self._trees]
        if not readings:
            return self._system.memory(exact=exact)
        names = ("footprint_bytes", "file_backed_bytes")
        held = {name: sum_known([getattr(reading, name) for reading in readings]) for name in names}
        return readings[0].model_copy(update=held)

    def counters(self) -> Counters:
        return Counters(None, None, sum_known([tree.disk_read_bytes() for tree in self._trees]))

    def swap(self) -> SwapSpace:
        return self._system.swap() if self._here else SwapSpace(None, None)


_STEP_S: Final = 0.01
_STEPS: Final = 5
_AT_MOST_S: Final = 2.0
_TOLERANCE_BYTES: Final = 256 << 10
# Those of this process.
_LEDGERS: Final = ("mlx_active_bytes", "mlx_cache_bytes", "footprint_bytes")


@dataclass(frozen=True)
class Settled:
    """The ledgers once they stood still, how long that took, and what the machine used meanwhile."""

    seconds: float
    ledgers: Reading
    watts: float | None = None


def settle(meter: Meter) -> Settled:
    """Read the ledgers every 10 ms until they have stood still for 40 ms, or two seconds have passed."""
    before = meter.energy.look()
    begun_s = meter.now_s()
    recent: list[tuple[float, Reading]] = []
    while True:
        now_s = meter.now_s() - begun_s
        recent = [*recent[-_STEPS + 1 :], (now_s, meter.read())]
        ledgers_over_time = ([getattr(reading, name) or 0 for _, reading in recent] for name in _LEDGERS)
        moved = max(max(values) - min(values) for values in ledgers_over_time)
        still = len(recent) == _STEPS and moved <= _TOLERANCE_BYTES
        if still or now_s >= _AT_MOST_S:
            break
        time.sleep(_STEP_S)
    seconds, ledgers = recent[0 if still else -1]
    used = meter.energy.since(before)
    # The machine's ledgers of this moment: what they say in passing may be a second old.
    exact = meter.read(exact=True)
    machine = {name: getattr(exact, name) for name in type(exact).model_fields if name.startswith("system_")}
    return Settled(seconds, ledgers.model_copy(update=machine), used.watts if used else None)

"""What a probe reads: a clock, the ledgers, the counters. The real one here; a script has its own."""

import os
import time
from typing import Protocol

from swapbench.instruments.ledgers import Process, SwapSpace, System, process, system
from swapbench.machine.energy import Energy, of_this_machine
from swapbench.wire.events import Reading
from swapbench.worker.counters import Counters, read_counters


class Meter(Protocol):
    """The instruments of a target."""

    def now_s(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it: MLX computes lazily."""
        ...

    def read(self, *, exact: bool = False) -> Reading:
        """All ledgers; `exact`: the machine's are of this moment, too, which may take some milliseconds."""
        ...

    def read_inside(self) -> Reading:
        """Only what can be read without lengthening a phase."""
        ...

    def counters(self) -> Counters:
        """Page faults and disk bytes so far."""
        ...

    def start_peak(self) -> None:
        """Forget MLX's peak, so that the next `peak_bytes` is of what follows."""
        ...

    def peak_bytes(self) -> int | None:
        """MLX's peak since `start_peak`."""
        ...

    @property
    def clock_origin_ns(self) -> int | None:
        """The zero of `now_s` on the machine's monotonic clock; None for a clock of its own."""
        ...

    def swap(self) -> SwapSpace:
        """The machine's swap."""
        ...

    @property
    def energy(self) -> Energy:
        """What the machine uses; `NONE` where the target runs on another one, or nobody knows on which."""
        ...


class MlxMeter:
    """perf_counter_ns, the OS, and MLX's counters."""

    def __init__(self) -> None:
        import mlx.core as mx

        self._mx = mx
        self._process: Process = process(os.getpid())
        self._system: System = system()
        self.energy = of_this_machine()
        self.clock_origin_ns = time.perf_counter_ns()

    def now_s(self) -> float:
        """Seconds since this meter was made."""
        return (time.perf_counter_ns() - self.clock_origin_ns) / 1e9

    def synchronize(self) -> None:
        """mx.synchronize on the default stream."""
        self._mx.synchronize()

    def read(self, *, exact: bool = False) -> Reading:
        """All ledgers: some 40 microseconds on Linux."""
        ours, machine = self._process.memory(), self._system.memory(exact=exact)
        return Reading(
            mlx_active_bytes=self._mx.get_active_memory(),
            mlx_cache_bytes=self._mx.get_cache_memory(),
            footprint_bytes=ours.footprint_bytes,
            system_available_bytes=machine.available_bytes,
            file_backed_bytes=ours.file_backed_bytes,
            system_wired_bytes=machine.wired_bytes,
            system_compressed_bytes=machine.compressed_bytes,
        )

    def read_inside(self) -> Reading:
        """MLX's two counters."""
        return Reading(
            mlx_active_bytes=self._mx.get_active_memory(), mlx_cache_bytes=self._mx.get_cache_memory()
        )

    def counters(self) -> Counters:
        """getrusage and the disk bytes."""
        return read_counters(self._process)

    def start_peak(self) -> None:
        """mx.reset_peak_memory."""
        self._mx.reset_peak_memory()

    def peak_bytes(self) -> int | None:
        """mx.get_peak_memory."""
        return self._mx.get_peak_memory()

    def swap(self) -> SwapSpace:
        """Swap in use, and written so far."""
        return self._system.swap()

"""What a probe reads: a clock, the ledgers, the counters. The real one here; a script has its own."""

import time
from typing import Protocol

from swapbench.wire import Reading
from swapbench.worker.ledgers import (
    Counters,
    read_all,
    read_counters,
    read_mlx,
    swap_used_bytes,
    this_process,
)


class Meter(Protocol):
    """The instruments of a target."""

    def now_s(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it: MLX computes lazily."""
        ...

    def read(self) -> Reading:
        """All four ledgers."""
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

    def swap_used_bytes(self) -> int | None:
        """Swap in use on the machine."""
        ...


class MlxMeter:
    """perf_counter_ns, /proc or libproc, and MLX's counters."""

    def __init__(self) -> None:
        import mlx.core as mx

        self._mx = mx
        self._process = this_process()
        self._origin_ns = time.perf_counter_ns()

    def now_s(self) -> float:
        """Seconds since this meter was made."""
        return (time.perf_counter_ns() - self._origin_ns) / 1e9

    def synchronize(self) -> None:
        """mx.synchronize on the default stream."""
        self._mx.synchronize()

    def read(self) -> Reading:
        """All four ledgers: some 40 microseconds on Linux."""
        return read_all(self._process)

    def read_inside(self) -> Reading:
        """MLX's two counters."""
        return read_mlx()

    def counters(self) -> Counters:
        """getrusage and the disk bytes."""
        return read_counters(self._process)

    def start_peak(self) -> None:
        """mx.reset_peak_memory."""
        self._mx.reset_peak_memory()

    def peak_bytes(self) -> int | None:
        """mx.get_peak_memory."""
        return self._mx.get_peak_memory()

    def swap_used_bytes(self) -> int | None:
        """Swap in use on the machine."""
        return swap_used_bytes()

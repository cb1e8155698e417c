"""Counters of this very process, and when memory has come to rest, on ledgers that follow a plan."""

import mmap

import pytest

from swapbench.machine.energy import Energy
from swapbench.wire.swap import Reading
from swapbench.worker.meter import MlxMeter, settle
from swapbench.worker.targets.scripted import ScriptedMeter

MIB = 1 << 20


def test_touching_fresh_memory_is_counted_as_faults() -> None:
    meter = MlxMeter()
    before = meter.counters()
    memory = mmap.mmap(-1, 8 * MIB)
    # 4 KiB pages are not certain: huge ones fault once per 2 MiB, still at least four times.
    memory[:] = b"x" * (8 * MIB)
    delta = meter.counters().since(before)
    memory.close()
    assert delta.minor_faults is not None
    assert delta.minor_faults >= 4


MIB = 1 << 20


class _Shrinking(ScriptedMeter):
    """Gives memory back from reading to reading, 10 ms apart, until nothing of it is left."""

    def __init__(self, step_bytes: int, held_bytes: int) -> None:
        super().__init__()
        self._step_bytes = step_bytes
        self._held_bytes = held_bytes

    def read(self, *, exact: bool = False) -> Reading:
        self.advance(0.01)
        self._held_bytes = max(0, self._held_bytes - self._step_bytes)
        self.hold(self._held_bytes)
        return super().read()


def test_memory_that_stands_still_has_settled_at_once() -> None:
    settled = settle(_Shrinking(0, 64 * MIB))
    assert settled.seconds == pytest.approx(0.0)
    assert settled.ledgers.mlx_active_bytes == 64 * MIB


def test_memory_that_shrinks_settles_when_it_no_longer_does() -> None:
    settled = settle(_Shrinking(10 * MIB, 100 * MIB))
    assert settled.seconds == pytest.approx(0.09)
    assert settled.ledgers.mlx_active_bytes == 0


def test_what_moves_less_than_the_tolerance_counts_as_still() -> None:
    assert settle(_Shrinking(1024, 64 * MIB)).seconds == pytest.approx(0.0)


def test_memory_that_never_settles_is_given_up_after_two_seconds() -> None:
    settled = settle(_Shrinking(MIB, 1 << 40))
    assert settled.seconds == pytest.approx(2.0, abs=0.02)


def test_power_while_memory_settles_is_told_where_the_machine_tells_energy() -> None:
    meter = _Shrinking(0, 64 * MIB)
    assert settle(meter).watts is None
    joules = iter((100.0, 102.0))
    meter.energy = Energy("a script", lambda: (next(joules),), ranges=(0,))
    watts = settle(meter).watts
    assert watts is not None
    # Two joules in the 40 ms at the least.
    assert 0 < watts <= 50

"""Claims about what the system tells of itself: whether the value is true, people see in System Settings."""

import platform
import time
from pathlib import Path
from typing import Final

import mlx.core as mx

from swapbench.machine import mac
from swapbench.machine.doctor.claims import Found
from swapbench.machine.doctor.surroundings import look_around
from swapbench.machine.energy import of_this_machine
from swapbench.machine.environment import this_machine
from swapbench.worker.selfcheck.prepared import judged, not_here

_COMPUTING_S: Final = 3.0
_LINUX: Final = "Linux tells nothing of the kind here"


def release(_folder: Path) -> Found:
    """As in About This Mac."""
    machine = this_machine()
    told = bool(machine.processor) and machine.release == (mac.release() if mac.HERE else platform.release())
    return judged(told and bool(machine.release), f"{machine.processor}, {machine.system} {machine.release}")


def power(_folder: Path) -> Found:
    """On battery, or on mains."""
    return _told(look_around(()).power.on_battery, {True: "not on mains", False: "on mains"})


def low_power(_folder: Path) -> Found:
    """The mode that saves power."""
    return _told(look_around(()).power.low_power_mode, {True: "on", False: "off"})


def thermal(_folder: Path) -> Found:
    """The pressure, as macOS counts it."""
    return _told(look_around(()).thermal_pressure, {level: f"level {level}" for level in range(5)})


def energy(_folder: Path) -> Found:
    """The counters before and after three seconds of sums of products."""
    reader = of_this_machine()
    before = reader.look()
    if before is None:
        return not_here(reader.source or "nothing tells; on a Mac the extra swapbench[energy] does")
    matrix = mx.random.normal((1024, 1024))
    while time.perf_counter() - before.at_s < _COMPUTING_S:
        mx.eval(matrix @ matrix)
    used = reader.since(before)
    if used is None:
        return judged(holds=False, finding=f"{reader.source}: the counters stood still, or went back")
    return judged(0.1 < used.watts < 1000, f"{used.watts:.1f} W, {reader.source}")


def _told(value: int | None, words: dict[int, str]) -> Found:
    if value is None:
        return judged(holds=False, finding="nothing is told") if mac.HERE else not_here(_LINUX)
    return judged(value in words, words.get(value, f"{value}, which is none of the known ones"))

"""What the whole machine has used of energy, told without root: by macOS's IOReport, with the package
zeus-apple-silicon (the extra `energy`), or Linux's RAPL. Nothing here fails, or is zero for want of a figure.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapbench.machine import mac

# Below it lies what the kernel tells.
ROOT = Path("/")

# RAPL counts on every millisecond; IOReport in steps of 1 mJ, which windows of 10 ms drown in.
_LEAST_S: Final = 0.03
# macOS 27 publishes what it has counted up to 2.2 s later (M1 Ultra and M5 Max: lablup/all-smi#410, #415).
_BATCH_S: Final = 2.5
_BATCHES_SINCE: Final = 27

# Of AppleEnergyMetrics; what the GPU's SRAM uses is left out, since GPU may have it already.
_FIELDS: Final = {"CPU": "cpu_total_mj", "GPU": "gpu_mj", "DRAM": "dram_mj", "ANE": "ane_mj"}


@dataclass(frozen=True)
class EnergyReading:
    """Counters in joules at a moment; only their differences mean anything."""

    at_s: float
    counters: tuple[float, ...]


@dataclass(frozen=True)
class Used:
    """Energy, and in which time."""

    joules: float
    seconds: float

    @property
    def watts(self) -> float:
        """On average."""
        return self.joules / self.seconds


@dataclass(frozen=True)
class Energy:
    """A reader of counters; `source` says what is read by what, and is empty where nothing is."""

    source: str = ""
    # In joules, none where they can't be had; that of the CPU comes first.
    read: Callable[[], Sequence[float]] = tuple
    # What is used in less time isn't told.
    least_s: float = _LEAST_S
    # Where each counter starts again from nothing; 0 for one that never does.
    ranges: Sequence[float] = ()

    def look(self) -> EnergyReading | None:
        """The counters now."""
        try:
            counters = tuple(self.read())
        except (OSError, ValueError, RuntimeError):
            return None
        return EnergyReading(time.perf_counter(), counters) if counters else None

    def since(self, before: EnergyReading | None) -> Used | None:
        """What was used since; None where that isn't known."""
        after = self.look()
        if before is None or after is None or after.at_s - before.at_s < self.least_s:
            return None
        used = [
            late - early + (wraps_at if late < early else 0)
            for early, late, wraps_at in zip(before.counters, after.counters, self.ranges, strict=True)
        ]
        # No CPU does without: a counter that stood still was stopped, as macOS 27 does after sleep.
        if min(used) < 0 or not used[0]:
            return None
        return Used(sum(used), after.at_s - before.at_s)


NONE: Final = Energy()


def of_this_machine() -> Energy:
    """What can be read here; `NONE` where nothing can."""
    try:
        return _ioreport() if mac.HERE else _rapl()
    except (ImportError, OSError, ValueError, RuntimeError):
        return NONE


def _ioreport() -> Energy:
    import zeus_apple_silicon

    monitor = zeus_apple_silicon.AppleEnergyMonitor()
    first = monitor.get_cumulative_energy()
    told = {name: field for name, field in _FIELDS.items() if getattr(first, field) is not None}
    if "CPU" not in told:
        return NONE

    def read() -> Sequence[float]:
        now = monitor.get_cumulative_energy()
        millijoules = [getattr(now, field) for field in told.values()]
        return [] if None in millijoules else [counter / 1000 for counter in millijoules]

    major = mac.release().partition(".")[0]
    at_once = major.isdecimal() and int(major) < _BATCHES_SINCE
    return Energy(f"{', '.join(told)} by IOReport", read, _LEAST_S if at_once else _BATCH_S, [0] * len(told))


def _rapl() -> Energy:
    """Processor packages, and the memory that is in none of them; psys would count both again."""
    zones = {zone: _text(zone / "name") for zone in (ROOT / "sys/class/powercap").glob("intel-rapl:*")}
    counted = sorted(
        (zone for zone, name in zones.items() if name.startswith("package") or name == "dram"),
        key=lambda zone: (zones[zone] == "dram", zone.name),
    )
    if not counted:
        return NONE

    def read() -> Sequence[float]:
        return [int(_text(zone / "energy_uj")) / 1e6 for zone in counted]

    read()
    ranges = [int(_text(zone / "max_energy_range_uj")) / 1e6 for zone in counted]
    names = dict.fromkeys(zones[zone] for zone in counted)
    return Energy(f"{', '.join(names)} by RAPL", read, ranges=ranges)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()

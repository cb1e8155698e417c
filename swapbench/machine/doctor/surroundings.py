"""What goes on around a run, gathered in less than half a second: before every run, and by the doctor."""

import os
import plistlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.parsers.expat import ExpatError

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.process import LENT
from swapbench.machine import allowance, energy, mac
from swapbench.machine.limits import Volume

# How long the busiest processes are watched.
_WATCH_S = 0.1
# Beyond which waiting for memory counts as pressure.
_WAITING_PERCENT = 10.0


@dataclass(frozen=True)
class Power:
    """Where the power comes from, and whether the machine saves it; None where it does not tell."""

    on_battery: bool | None = None
    low_power_mode: bool | None = None
    governor: str | None = None


@dataclass(frozen=True)
class Storage:
    """A volume; what only macOS tells of its drive is empty and False elsewhere."""

    volume: Volume
    bus: str = ""
    external: bool = False
    encrypted: bool = False


@dataclass(frozen=True)
class Surroundings:
    """The machine as it is now, and what this process may have of it.

    Sizes in bytes; None where the platform has no such thing. `memory_pressure` and `held_back` say what is
    amiss, and are empty where nothing is.
    """

    cores: int
    load: float
    processors: allowance.Processors
    memory: allowance.Memory
    memory_pressure: str
    swap_used_bytes: int
    power: Power
    thermal_pressure: int | None
    thermal_warning: bool
    virtual_machine: str | None
    reclaims_idle_pages: bool
    huge_pages: str | None
    wired_limit_bytes: int | None
    want_of_files: str
    energy: str
    held_back: str
    storages: tuple[Storage, ...]


def look_around(models: Iterable[Path]) -> Surroundings:
    """Gather everything; `models` is where models lie."""
    return Surroundings(
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        processors=allowance.processors(),
        memory=allowance.memory(),
        memory_pressure=_memory_pressure(),
        swap_used_bytes=psutil.swap_memory().used,
        power=_mac_power() if mac.HERE else _linux_power(),
        thermal_pressure=mac.thermal_pressure(),
        thermal_warning=mac.HERE and thermal_warning(mac.printed_by("/usr/bin/pmset", "-g", "therm")),
        virtual_machine=_mac_virtual_machine() if mac.HERE else _linux_virtual_machine(),
        reclaims_idle_pages=_reclaims_idle_pages(),
        huge_pages=chosen(_text("/sys/kernel/mm/transparent_hugepage/enabled")),
        wired_limit_bytes=_wired_limit() if mac.HERE else None,
        want_of_files=allowance.want_of_files(),
        energy=energy.of_this_machine().source,
        held_back=mac.held_back() or _held_back(),
        storages=storages_of(models),
    )


def busiest_of_mine() -> tuple[str, ...]:
    """The two of this user's processes that take most of the coming tenth of a second, ourselves left out."""
    before = {}
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            before[process] = sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    time.sleep(_WATCH_S)
    shares = []
    for process, earlier_s in before.items():
        try:
            share = (sum(process.cpu_times()[:2]) - earlier_s) / _WATCH_S
            if process.pid != os.getpid() and share > 0.05:
                shares.append((share, f"{process.name()} ({process.pid}, {share:.0%} of a core)"))
        except psutil.Error:
            continue
    return tuple(text for _, text in sorted(shares, reverse=True)[:2])


def _memory_pressure() -> str:
    if mac.HERE:
        return pressure_level(mac.sysctl("kern.memorystatus_vm_pressure_level"))
    return memory_waits(_text("/proc/pressure/memory"))


def pressure_level(level: str) -> str:
    """From `kern.memorystatus_vm_pressure_level`: 1 is normal."""
    word = {"2": "warning", "4": "critical"}.get(level)
    return f"the kernel calls memory pressure {word}" if word else ""


def memory_waits(pressure: str) -> str:
    """From Linux's /proc/pressure/memory: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` comes first."""
    some = re.search(r"^some avg10=([\d.]+)", pressure, re.MULTILINE)
    if some is None or float(some[1]) < _WAITING_PERCENT:
        return ""
    return f"processes waited for memory in {float(some[1]):.0f} % of the last ten seconds"


def _held_back() -> str:
    if sys.platform == "linux" and psutil.Process().ionice().ioclass == psutil.IOPRIO_CLASS_IDLE:
        return "of the disk's idle class, as by `ionice -c 3`"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f"nice, by {nice}" if nice > 0 else ""


def _mac_power() -> Power:
    return Power(
        on_battery=on_battery(mac.printed_by("/usr/bin/pmset", "-g", "batt")),
        low_power_mode=low_power_mode(mac.printed_by("/usr/bin/pmset", "-g")),
    )


def on_battery(pmset_batt: str) -> bool | None:
    """From `pmset -g batt`, whose first line is: Now drawing from 'AC Power'. A UPS is a battery, too."""
    source = re.search(r"drawing from '([^']*)'", pmset_batt)
    return None if source is None else not source[1].startswith("AC")


def low_power_mode(pmset: str) -> bool | None:
    """From `pmset -g`: ` lowpowermode 1`, or, where there is a high power mode (2) too, ` powermode 1`."""
    mode = re.search(r"^\s*(?:low)?powermode\s+(\d)", pmset, re.MULTILINE)
    return None if mode is None else mode[1] == "1"


def thermal_warning(pmset_therm: str) -> bool:
    """From `pmset -g therm`: whether it has recorded a warning, as in Thermal Warning Level = 2."""
    return bool(re.search(r"Warning Level\s*=\s*[1-9]", pmset_therm))


def _wired_limit() -> int | None:
    """What the GPU may wire at most; 0 is the system's own choice, about two thirds to three quarters."""
    mebibytes = mac.sysctl("iogpu.wired_limit_mb")
    return int(mebibytes) << 20 if mebibytes.isdecimal() else None


def _mac_virtual_machine() -> str | None:
    return "a virtual machine" if mac.sysctl("kern.hv_vmm_present") == "1" else None


def _linux_power() -> Power:
    governor = _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return Power(on_battery=None if battery is None else not battery.power_plugged, governor=governor)


def _linux_virtual_machine() -> str | None:
    product = _text("/sys/class/dmi/id/product_name").strip() or _text("/sys/hypervisor/type").strip()
    if "hypervisor" in _text("/proc/cpuinfo").partition("\n\n")[0]:
        return f"a virtual machine ({product})" if product else "a virtual machine"
    return None


def _reclaims_idle_pages() -> bool:
    """Whether one of Linux's data access monitors is on and pages out; unreadable files count as no."""
    for daemon in Path("/sys/kernel/mm/damon/admin/kdamonds").glob("[0-9]*"):
        actions = {_text(path).strip() for path in daemon.glob("contexts/*/schemes/*/action")}
        if _text(daemon / "state").strip() == "on" and actions & {"pageout", "cold"}:
            return True
    return False


def chosen(setting: str) -> str | None:
    """The word in brackets of a kernel setting such as `always [madvise] never`."""
    word = re.search(r"\[(\w+)\]", setting)
    return None if word is None else word[1]


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def storages_of(folders: Iterable[Path]) -> tuple[Storage, ...]:
    """Each volume once; those that no mount is known of are left out."""
    volumes = dict.fromkeys(map(Volume.of, folders))
    return tuple(
        described(
            volume, mac.printed_by("/usr/sbin/diskutil", "info", "-plist", volume.mount) if mac.HERE else ""
        )
        for volume in volumes
        if volume.mount
    )


def described(volume: Volume, diskutil: str) -> Storage:
    """A volume, with what `diskutil info -plist` prints of it, which may be that it knows no such volume."""
    try:
        told = plistlib.loads(diskutil.encode())
    except (ValueError, ExpatError):
        told = {}
    # A built-in card reader is Internal, too; older releases have no other word.
    external = bool(told.get("RemovableMediaOrExternalDevice", not told.get("Internal", True)))
    return Storage(volume, str(told.get("BusProtocol", "")), external, bool(told.get("FileVault")))


class Examination(BaseModel):
    """What the child found. Seconds, bytes, and GB/s (1e9)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlx_version: str
    mlx_lm_version: str
    device: Literal["cpu", "gpu"]
    device_name: str
    working_set_bytes: int | None
    probe_phases: int
    probe_phase_s: float
    probe_phase_most_s: float
    sample_every_s: float
    sampler_share: float
    first_touch_gb_per_s: float
    second_touch_gb_per_s: float
    resident_after_evict: float | None
    # So much of a file may be in the page cache that is called cold.
    cold_share: float
    # What this mlx-lm does otherwise than the loaders know, so that they leave it to mlx-lm; None where it
    # can't be imported.
    unasked: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class Room:
    """Free space where something is kept."""

    what: str
    folder: Path
    free_bytes: int


def examine(models: Path, python: str = sys.executable) -> Examination:
    """Have a child examine this machine; `models` is where checkpoints lie.

    Raises:
        WorkerError: it could not; the message says why.
    """
    command = [python, *LENT, "swapbench.worker.examine", str(models)]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerError(f"{python}: the examination could not be carried out: {error}") from None
    try:
        return Examination.model_validate_json(done.stdout)
    except ValidationError:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else f"exit code {done.returncode}"
        raise WorkerError(f"MLX could not be examined: {why}") from None


def room_for(what: str, folder: Path) -> Room:
    """Free space on the volume of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return Room(what, folder, shutil.disk_usage(existing).free)

"""What goes on around a run, gathered in less than half a second; other runs on this machine."""

import fcntl
import os
import plistlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Literal, Self
from xml.parsers.expat import ExpatError

import psutil
from pydantic import ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.process import LENT
from swapbench.machine import allowance, energy, mac
from swapbench.machine.environment import Fact, Volume

# How long the busiest processes are watched.
_WATCH_S = 0.1
# Beyond which waiting for memory counts as pressure.
_WAITING_PERCENT = 10.0


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

    Sizes in bytes; None where the platform has no such thing, or does not tell. `memory_pressure` and
    `held_back` say what is amiss, and are empty where nothing is.
    """

    cores: int
    load: float
    processors: allowance.Processors
    memory: allowance.Memory
    swap_used_bytes: int
    want_of_files: str
    energy: str
    held_back: str
    storages: tuple[Storage, ...]
    memory_pressure: str = ""
    on_battery: bool | None = None
    low_power_mode: bool | None = None
    governor: str | None = None
    thermal_pressure: int | None = None
    thermal_warning: bool = False
    virtual_machine: str | None = None
    reclaims_idle_pages: bool = False
    huge_pages: str | None = None
    wired_limit_bytes: int | None = None


def look_around(models: Iterable[Path]) -> Surroundings:
    """Gather everything; `models` is where models lie."""
    # Each volume once; those that no mount is known of are left out.
    volumes = [volume for volume in dict.fromkeys(map(Volume.of, models)) if volume.mount]
    around = Surroundings(
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        processors=allowance.processors(),
        memory=allowance.memory(),
        swap_used_bytes=psutil.swap_memory().used,
        want_of_files=allowance.want_of_files(),
        energy=energy.of_this_machine().source,
        held_back=mac.held_back() or _held_back(),
        storages=tuple(map(_storage, volumes)),
    )
    return _with_what_macos_tells(around) if mac.HERE else _with_what_linux_tells(around)


def _with_what_macos_tells(around: Surroundings) -> Surroundings:
    pmset, wired_mib = "/usr/bin/pmset", mac.sysctl("iogpu.wired_limit_mb")
    return replace(
        around,
        memory_pressure=pressure_level(mac.sysctl("kern.memorystatus_vm_pressure_level")),
        on_battery=on_battery(mac.printed_by(pmset, "-g", "batt")),
        low_power_mode=low_power_mode(mac.printed_by(pmset, "-g")),
        thermal_pressure=mac.thermal_pressure(),
        thermal_warning=thermal_warning(mac.printed_by(pmset, "-g", "therm")),
        virtual_machine="a virtual machine" if mac.sysctl("kern.hv_vmm_present") == "1" else None,
        # What the GPU may wire at most; 0 is the system's own choice, about two thirds to three quarters.
        wired_limit_bytes=int(wired_mib) << 20 if wired_mib.isdecimal() else None,
    )


def _with_what_linux_tells(around: Surroundings) -> Surroundings:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    product = _text("/sys/class/dmi/id/product_name").strip() or _text("/sys/hypervisor/type").strip()
    machine = f"a virtual machine ({product})" if product else "a virtual machine"
    virtual = "hypervisor" in _text("/proc/cpuinfo").partition("\n\n")[0]
    return replace(
        around,
        memory_pressure=memory_waits(_text("/proc/pressure/memory")),
        on_battery=None if battery is None else not battery.power_plugged,
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        virtual_machine=machine if virtual else None,
        reclaims_idle_pages=any(
            _pages_out(daemon) for daemon in Path("/sys/kernel/mm/damon/admin/kdamonds").glob("[0-9]*")
        ),
        huge_pages=chosen(_text("/sys/kernel/mm/transparent_hugepage/enabled")),
    )


def _pages_out(daemon: Path) -> bool:
    """Whether one of Linux's data access monitors is on and pages out; unreadable files count as no."""
    actions = {_text(path).strip() for path in daemon.glob("contexts/*/schemes/*/action")}
    return _text(daemon / "state").strip() == "on" and bool(actions & {"pageout", "cold"})


def busiest_of_mine() -> tuple[str, ...]:
    """The two of this user's processes that take most of the coming tenth of a second, ourselves left out."""
    before = {
        process: sum(process.info["cpu_times"][:2])
        for process in psutil.process_iter(["uids", "cpu_times"])
        if process.info["cpu_times"] and process.info["uids"] and process.info["uids"].real == os.getuid()
    }
    time.sleep(_WATCH_S)
    shares = []
    for process, earlier_s in before.items():
        with suppress(psutil.Error):
            share = (sum(process.cpu_times()[:2]) - earlier_s) / _WATCH_S
            if process.pid != os.getpid() and share > 0.05:
                shares.append((share, f"{process.name()} ({process.pid}, {share:.0%} of a core)"))
    return tuple(text for _, text in sorted(shares, reverse=True)[:2])


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


def chosen(setting: str) -> str | None:
    """The word in brackets of a kernel setting such as `always [madvise] never`."""
    word = re.search(r"\[(\w+)\]", setting)
    return None if word is None else word[1]


def _held_back() -> str:
    if sys.platform == "linux" and psutil.Process().ionice().ioclass == psutil.IOPRIO_CLASS_IDLE:
        return "of the disk's idle class, as by `ionice -c 3`"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f"nice, by {nice}" if nice > 0 else ""


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _storage(volume: Volume) -> Storage:
    return described(
        volume, mac.printed_by("/usr/sbin/diskutil", "info", "-plist", volume.mount) if mac.HERE else ""
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


class Examination(Fact):
    """What the child found. Seconds, bytes, and GB/s (1e9)."""

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


def free_bytes(folder: Path) -> int:
    """Of the volume of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


# Of all users, whatever TMPDIR each of them has.
_RUNS: Final = Path("/tmp/swapbench-runs")


@dataclass(frozen=True)
class Presence:
    """A run that made itself known, by a file locked until it ends; `others` are those before it, by pid."""

    others: tuple[int, ...] = ()
    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def announce(cls) -> Self:
        """Make this process known, and tell it to the others; where that can't be done, nobody is known."""
        place = Path(os.environ.get("SWAPBENCH_RUNS") or _RUNS)
        name = f"{os.getpid()}.{os.urandom(4).hex()}"
        hidden, path = place / f".{name}", place / name
        try:
            place.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # somebody else's, who has opened it to all
                place.chmod(0o1777)
            file = hidden.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            hidden.rename(path)  # locked before it can be seen
        except OSError:
            return cls()
        return cls(tuple(sorted(_others(place))), path, file)

    def met(self) -> bool:
        """Whether there was another run at its beginning, or one has begun since."""
        return bool(self.others) or (self._file is not None and os.fstat(self._file.fileno()).st_size > 0)

    def leave(self) -> None:
        """The run is over; may be called twice."""
        if self._file is not None and self._path is not None and not self._file.closed:
            with suppress(OSError):
                self._path.unlink()
            self._file.close()


def _others(place: Path) -> set[int]:
    """Whose files are locked; each gets a byte for it. What nobody locks was left by a killed process."""
    others = set()
    for path in place.glob("[0-9]*.*"):
        pid = int(path.name.partition(".")[0])
        if pid == os.getpid():  # this one, or another run that this very process carries out
            continue
        with suppress(OSError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                others.add(pid)
                with path.open("ab") as told:
                    told.write(b".")
    return others

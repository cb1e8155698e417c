"""The machine that measures: its identity, and what on it could disturb the figures."""

import os
import platform
import subprocess
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """What identifies a machine when its figures are compared with another's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: str
    release: str
    architecture: str
    processor: str
    cores: int
    memory_bytes: int

    def describe(self) -> str:
        """One line of what is known: a transcribed run need not know the cores or the system's release."""
        parts = (
            self.processor,
            f"{self.cores} cores" if self.cores else "",
            f"{self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else "",
            f"{self.system} {self.release}".strip(),
        )
        return ", ".join(part for part in parts if part)


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        system="macOS" if platform.system() == "Darwin" else platform.system(),
        release=platform.mac_ver()[0] or platform.release(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
    )


def noise_warnings() -> list[str]:
    """What is going on right now that makes timings less trustworthy, each with what to do about it."""
    warnings = []
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    if load > 0.5 * cores:
        warnings.append(f"load average {load:.1f} on {cores} cores: other processes are busy; stop them")
    memory = psutil.virtual_memory()
    if memory.available < 0.25 * memory.total:
        free = memory.available / 2**30
        warnings.append(f"only {free:.1f} GiB of memory available: close other applications")
    if _reclaims_idle_pages():
        warnings.append(
            "the kernel takes idle pages back while memory is free (DAMON pageout): warm page caches and "
            "footprints shrink by themselves; as root, echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state"
        )
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None and not battery.power_plugged:
        warnings.append("running on battery: the machine may throttle; plug it in")
    return warnings


def _reclaims_idle_pages() -> bool:
    """Whether one of Linux's data access monitors is on and pages out; unreadable files count as no."""
    for daemon in Path("/sys/kernel/mm/damon/admin/kdamonds").glob("[0-9]*"):
        try:
            actions = {path.read_text().strip() for path in daemon.glob("contexts/*/schemes/*/action")}
            if (daemon / "state").read_text().strip() == "on" and actions & {"pageout", "cold"}:
                return True
        except OSError:
            continue
    return False


def _processor() -> str:
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")

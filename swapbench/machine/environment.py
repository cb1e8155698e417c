"""The machine that measures: its identity, its volumes, and the limits of its disk and memory."""

import hashlib
import json
import os
import platform
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from swapbench.base.files import write_atomically
from swapbench.machine import allowance, mac


class Fact(BaseModel):
    """Part of a file that swapbench writes for itself; newer fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Machine(Fact):
    """What identifies a machine when its figures are compared with another's."""

    system: str
    release: str
    architecture: str
    processor: str
    cores: int
    memory_bytes: int
    # What a run may use of these, and who leaves it less: 0 and empty where nobody does.
    cores_limit: float = 0
    cores_limited_by: str = ""
    memory_limit_bytes: int = 0
    memory_limited_by: str = ""

    @property
    def usable_memory_bytes(self) -> int:
        """What a run may use of its memory."""
        return self.memory_limit_bytes or self.memory_bytes

    def describe(self) -> str:
        """One line of what is known: a transcribed run need not know the cores or the system's release."""
        cores = f"{self.cores} cores" if self.cores else ""
        if cores and self.cores_limit:
            cores += f" (limited to {self.cores_limit:g} by {self.cores_limited_by})"
        memory = f"{self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else ""
        if memory and self.memory_limit_bytes:
            memory += f" (limited to {self.memory_limit_bytes / 2**30:.1f} GiB by {self.memory_limited_by})"
        parts = (self.processor, cores, memory, f"{self.system} {self.release}".strip())
        return ", ".join(part for part in parts if part)


# What changes how MLX, malloc and tokenizers' threads work. Nothing that could be a secret is among them.
_TUNING: Final = re.compile(
    r"(MLX|MALLOC|OMP|RAYON|TOKENIZERS)_\w+|GLIBC_TUNABLES|PYTHONMALLOC|LD_PRELOAD|DYLD_INSERT_LIBRARIES"
)


def tuning() -> dict[str, str]:
    """The environment's variables that a worker's figures hang on."""
    return {name: value for name, value in sorted(os.environ.items()) if _TUNING.fullmatch(name)}


def this_machine() -> Machine:
    """The machine that this process runs on, and what the process may use of it."""
    cores, memory = allowance.processors(), allowance.memory().total
    return Machine(
        system="macOS" if mac.HERE else platform.system(),
        release=_release(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=allowance.machine_memory()[0],
        cores_limit=cores.count if cores.by else 0,
        cores_limited_by=cores.by,
        memory_limit_bytes=memory.bytes if memory.by else 0,
        memory_limited_by=memory.by,
    )


# Neither changes while a process runs, and macOS tells them by programs that are to be started.
@cache
def _release() -> str:
    return mac.release() or platform.release()


@cache
def _processor() -> str:
    if mac.HERE:
        return mac.sysctl("machdep.cpu.brand_string") or platform.processor()
    try:
        name = re.search(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        name = None
    return name[1].strip() if name else platform.processor() or "unknown"


# 1: first published form.
LIMITS_VERSION: Final = 1

# Systems are updated, disks fill up.
_STALE_AFTER: Final = timedelta(days=30)

Kind = Literal["disk", "disk_buffered", "read_fresh", "read_touched", "copy"]

_KIND_LABELS: Final[dict[Kind, str]] = {
    "disk": "cold read from disk",
    "disk_buffered": "cold read through the page cache",
    "read_fresh": "warm read into fresh memory",
    "read_touched": "warm read into used memory",
    "copy": "copy within memory",
}


class Volume(Fact):
    """Where files lie: the file system that holds them."""

    mount: str
    device: str
    file_system: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The volume of a path, which need not exist yet."""
        import psutil  # which whoever uses our loaders alone need not have

        resolved = path.resolve()
        holding = [p for p in psutil.disk_partitions(all=True) if resolved.is_relative_to(p.mountpoint)]
        if not holding:
            return cls(mount="", device="", file_system="")
        # Of several on one mount point the last covers the others.
        deepest = max(reversed(holding), key=lambda partition: len(partition.mountpoint))
        return cls(mount=deepest.mountpoint, device=deepest.device, file_system=deepest.fstype)


class Rate(Fact):
    """One way of moving bytes, measured `n` times, in GB/s (1e9 bytes).

    Warm reads are from the page cache: into memory that nobody has used yet, or that is in use.
    """

    kind: Kind
    how: str
    page_bytes: int | None = None
    n: int
    low: float
    median: float
    high: float

    def describe(self) -> str:
        """What was moved how, and into pages of which size where that matters."""
        text = f"{_KIND_LABELS[self.kind]}, {self.how}"
        if self.page_bytes is None:
            return text
        mebibytes = self.page_bytes >> 20
        return f"{text}, {f'{mebibytes} MiB' if mebibytes else f'{self.page_bytes >> 10} KiB'} pages"


class Limits(Fact):
    """All of them, of one machine and one volume."""

    schema_version: int = LIMITS_VERSION
    machine: Machine
    volume: Volume
    measured_at: datetime
    rates: tuple[Rate, ...]

    def best(self, *kinds: Kind) -> Rate | None:
        """The fastest of these kinds, by median."""
        return max((rate for rate in self.rates if rate.kind in kinds), key=lambda r: r.median, default=None)


def save_limits(limits: Limits, root: Path) -> Path:
    """Keep the limits of a machine and a volume, in place of older ones."""
    path = _path(limits.machine, limits.volume, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, limits.model_dump_json(indent=2) + "\n")
    return path


def load_limits(machine: Machine, volume: Volume, root: Path, now: datetime | None = None) -> Limits | None:
    """The limits of a volume; None where none were measured, or they are stale or of a newer swapbench."""
    try:
        raw = json.loads(_path(machine, volume, root).read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("schema_version") != LIMITS_VERSION:
            return None
        limits = Limits.model_validate(raw)
    except (OSError, ValueError, RecursionError):
        return None
    recent = (now or datetime.now(UTC)) - limits.measured_at <= _STALE_AFTER
    return limits if recent and (limits.machine, limits.volume) == (machine, volume) else None


def _path(machine: Machine, volume: Volume, root: Path) -> Path:
    # A process with less memory than the machine has, as in a container, is another machine.
    key = f"{machine.model_dump_json()}\0{volume.mount}\0{volume.device}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return root / "limits" / f"{digest}.json"

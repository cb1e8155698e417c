"""What a machine could do at most: rates of its disk and its memory, measured once and kept until stale."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from swapbench.base.files import write_atomically
from swapbench.machine.environment import Machine

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


class Fact(BaseModel):
    """Part of a file that swapbench writes for itself; newer fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


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

    `kind`: disk (cold, past the page cache), disk_buffered (cold, through it), read_fresh and read_touched
    (from the page cache, into memory that nobody has used yet, and into memory that is in use), copy (memory
    to memory).
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
        if self.page_bytes is None:
            return f"{_KIND_LABELS[self.kind]}, {self.how}"
        mebibytes = self.page_bytes >> 20
        size = f"{mebibytes} MiB" if mebibytes else f"{self.page_bytes >> 10} KiB"
        return f"{_KIND_LABELS[self.kind]}, {self.how}, {size} pages"


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


def stale(limits: Limits, machine: Machine, volume: Volume, now: datetime) -> str:
    """Why the limits are not those of the machine and volume any more; empty when they are."""
    if limits.machine != machine:
        return f"measured on {limits.machine.describe()}"
    if limits.volume != volume:
        return f"measured on the volume {limits.volume.mount}, and the models lie on {volume.mount}"
    if now - limits.measured_at > _STALE_AFTER:
        return f"measured {(now - limits.measured_at).days} days ago"
    return ""


def save(limits: Limits, root: Path) -> Path:
    """Keep the limits of a machine and a volume, in place of older ones."""
    path = _path(limits.machine, limits.volume, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, limits.model_dump_json(indent=2) + "\n")
    return path


def load(machine: Machine, volume: Volume, root: Path, now: datetime | None = None) -> Limits | None:
    """The limits of a volume; None where none were measured, or they are stale or of a newer swapbench."""
    try:
        raw = json.loads(_path(machine, volume, root).read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("schema_version") != LIMITS_VERSION:
            return None
        limits = Limits.model_validate(raw)
    except (OSError, ValueError, RecursionError, ValidationError):
        return None
    return None if stale(limits, machine, volume, now or datetime.now(UTC)) else limits


def _path(machine: Machine, volume: Volume, root: Path) -> Path:
    # A process with less memory than the machine has, as in a container, is another machine.
    key = f"{machine.model_dump_json()}\0{volume.mount}\0{volume.device}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return root / "limits" / f"{digest}.json"

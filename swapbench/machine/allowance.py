"""What this process may have of its machine: memory, processors and open files. Control groups (of
containers, services, CI jobs), `ulimit` and CPU affinity leave it less, which the machine doesn't tell.
"""

import mmap
import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Final

from swapbench.machine import mac

# Below it lies what the kernel tells of control groups.
ROOT = Path("/")

_GROUP: Final = "a control group"

# What a group's memory.stat has of file pages and the like, which the kernel takes back before it kills:
# version 2's names; version 1's, of the group with all below it.
_CACHE: Final = ("inactive_file", "active_file", "slab_reclaimable")
_CACHE_1: Final = ("total_inactive_file", "total_active_file")

# What mlx_lm/utils.py sets its limits of open files to, soft and hard, as soon as it is imported.
_MLX_LM_FILES: Final = (2048, 4096)


# Where C++ looks for the folder of temporary files, the first that is set.
_TEMPORARY: Final = ("TMPDIR", "TMP", "TEMP", "TEMPDIR")


@dataclass(frozen=True, order=True)
class ByteLimit:
    """So many bytes, and who limits them to that; empty where it is the machine."""

    bytes: int
    by: str = ""

    @property
    def limited(self) -> str:
        """A clause to follow the figure; empty where nobody limits it."""
        return f", limited by {self.by}" if self.by else ""


@dataclass(frozen=True)
class Memory:
    """What a process may have in all; what of it is available now; and the most that it could still obtain,
    swap included, before it would be killed or refused."""

    total: ByteLimit
    available: ByteLimit
    obtainable: ByteLimit


@dataclass(frozen=True, order=True)
class Processors:
    """How many a process may keep busy, parts of one included; and who limits them, if anybody does."""

    count: float
    by: str = ""

    @property
    def threads(self) -> int:
        """How many threads can compute at once."""
        return max(1, ceil(self.count))


def memory() -> Memory:
    """Of the machine's memory, what this process may have: each figure by whoever allows least."""
    bounds = (_of_machine(), *_of_groups(), *_of_process())
    return Memory(
        total=min(bound.total for bound in bounds),
        available=min(bound.available for bound in bounds),
        obtainable=min(bound.obtainable for bound in bounds),
    )


def _bound(total: int, available: int, obtainable: int, by: str = "") -> Memory:
    return Memory(*(ByteLimit(max(0, figure), by) for figure in (total, available, obtainable)))


def processors() -> Processors:
    """Of the machine's processors, what this process may use."""
    found = [Processors(os.cpu_count() or 1)]
    if sys.platform == "linux":  # a CPU set of a control group shows here, too
        found.append(Processors(len(os.sched_getaffinity(0)), "CPU affinity"))
    # Processor time over the time in which it may be spent; `max` and -1 are none.
    for folder in _groups("cpu"):
        one = f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"
        for words in (_text(folder / "cpu.max").split(), one.split()):
            with suppress(ValueError):
                quota_us, period_us = map(int, words)
                if quota_us > 0:
                    found.append(Processors(quota_us / period_us, _GROUP))
    return min(found)


def want_of_files() -> str:
    """Why mlx-lm can't be imported in processes of ours, and what to do about it; empty where it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MLX_LM_FILES[1]
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return ""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
    except (ValueError, OSError):
        return (
            f"mlx-lm can't be imported: it sets the limit of open files to {wanted}, and no more than {hard} "
            f"are allowed here; have `ulimit -Hn {wanted}` allowed: by limits.conf for a login, LimitNOFILE= "
            "for a service, --ulimit nofile= for a container"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return ""


def want_of_temporary_folder() -> str:
    """Why MLX's CPU build could not compile here, and what to do about it; empty where it could."""
    variable = next((name for name in _TEMPORARY if name in os.environ), "TMPDIR")
    folder = os.environ.get(variable, "/tmp")
    if Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ""
    return (
        f"MLX has no place for temporary files: {folder} is no folder that may be written; "
        f"set {variable} to one that may"
    )


def machine_memory() -> tuple[int, int, int]:
    """Bytes of the machine's memory in all, of what of it is available, and of swap that nobody uses.

    Without psutil: loaders are used where nothing of the kind is installed.
    """
    if sys.platform == "linux":
        told = {line.split(":")[0]: line.split()[1] for line in _text(Path("/proc/meminfo")).splitlines()}
        total, available, swap_free = (
            int(told.get(name, 0)) << 10 for name in ("MemTotal", "MemAvailable", "SwapFree")
        )
        return total, min(total, available), swap_free
    page = os.sysconf("SC_PAGE_SIZE")
    free = sum(mac.variable(name) or 0 for name in mac.AVAILABLE_PAGES)
    # Swap is files, as many as the disk has room for.
    return os.sysconf("SC_PHYS_PAGES") * page, free * page, 0


def _of_machine() -> Memory:
    """Linux kills once memory and swap are gone; macOS compresses and swaps others out before, as far as its
    disk goes."""
    total, available, swap_free = machine_memory()
    return _bound(total, available, total if sys.platform == "darwin" else available + swap_free)


def _of_groups() -> Iterator[Memory]:
    swap_free = machine_memory()[2]
    for folder in _groups("memory"):
        told = _table(folder / "memory.stat")
        limit = _number(folder / "memory.max")
        if limit is not None:
            cache = sum(told.get(name, 0) for name in _CACHE)
            free = limit - (_number(folder / "memory.current") or 0) + cache
            swap_limit = _number(folder / "memory.swap.max")
            swap_used = _number(folder / "memory.swap.current") or 0
            swap = swap_free if swap_limit is None else min(swap_free, swap_limit - swap_used)
            yield _bound(limit, free, free + swap, _GROUP)
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is not None:
            # A container may not see the groups above its own, which bind it nevertheless.
            limit = min(limit, told.get("hierarchical_memory_limit", limit))
            cache = sum(told.get(name, 0) for name in _CACHE_1)
            free = limit - (_number(folder / "memory.usage_in_bytes") or 0) + cache
            most, both = free + swap_free, _number(folder / "memory.memsw.limit_in_bytes")
            if both is not None:
                most = min(most, both - (_number(folder / "memory.memsw.usage_in_bytes") or 0) + cache)
            yield _bound(limit, free, most, _GROUP)


def _of_process() -> Iterator[Memory]:
    """macOS knows these limits too, and holds nobody to them."""
    if sys.platform != "linux":
        return
    # In pages: size, resident, shared, text, lib, data and stack.
    pages = [int(count) for count in _text(Path("/proc/self/statm")).split()]
    size, data = pages[0] * mmap.PAGESIZE, pages[5] * mmap.PAGESIZE
    for limit, used_bytes, by in (
        (resource.RLIMIT_AS, size, "ulimit -v"),
        (resource.RLIMIT_DATA, data, "ulimit -d"),
    ):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            yield _bound(soft, soft - used_bytes, soft - used_bytes, by)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process is in, each with those above it: version 2's, and
    version 1's of that controller.

    Where a container has its own mounted in the outermost's place, nothing lies at the path that it is told.
    """
    mounts = ROOT / "sys/fs/cgroup"
    for line in _text(ROOT / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount = mounts if (mounts / "cgroup.controllers").exists() else mounts / "unified"
        elif controller in controllers.split(","):
            mount = mounts / controller
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            yield mount / group


def _table(path: Path) -> Mapping[str, int]:
    return {name: int(count) for name, count in re.findall(r"^(\S+) (\d+)$", _text(path), re.MULTILINE)}


def _number(path: Path) -> int | None:
    """None where there is no such file, or it says `max`."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

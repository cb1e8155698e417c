"""Before a swap: the page cache made what the experiment says, free memory the machine's again, and where a
fault wants it, a copy of a checkpoint by links, of which one file is spoilt."""

import json
import mmap
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from swapbench.base.process import LENT
from swapbench.instruments import page_cache
from swapbench.machine import allowance
from swapbench.spec.experiment import FaultKind, PageCache
from swapbench.wire.plan import Checkpoint

# What is free is the system's to hand out meanwhile; what is left keeps it from reclaiming for us.
_MOST_OF_FREE: Final = 0.9
_HEADROOM: Final = 1.1
_PAGE_BYTES: Final = 4096
# What a full disk lets be written of a file: its header, and no more.
FULL_DISK_BYTES: Final = 4096
# Of a damaged shard this much is kept; whether the rest is there no longer matters.
_KEPT_BYTES: Final = 1 << 20


def set_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Read the checkpoint's weights in, or drop them, or leave them."""
    page_cache.arrange(page_cache.weight_files(checkpoint.path), label)


def keep_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Kernels that reclaim idle pages take some back while requests are brought in flight."""
    files = page_cache.weight_files(checkpoint.path)
    if label is PageCache.WARM and page_cache.residency(files).share < 1:
        page_cache.prime(files)


def touch_free_memory(wanted_bytes: int) -> None:
    """Have a child write to as much free memory as a model of `wanted_bytes` takes, and end.

    A virtual machine may give free pages back to its host within seconds, and get each one back only by a
    trap at the next write: the first loader after a pause would pay for that, and be compared with one that
    did not. A child, since its pages go back as they are: free, and backed by the host.
    """
    free_bytes = min(psutil.virtual_memory().free, allowance.memory().available.bytes)
    length = int(min(wanted_bytes * _HEADROOM, free_bytes * _MOST_OF_FREE))
    if length > 0:
        subprocess.run([sys.executable, *LENT, "swapbench.worker.preparation", str(length)], check=True)


def main() -> None:
    length = int(sys.argv[1])
    with mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, length, _PAGE_BYTES):
            memory[at] = 1


def damaged(checkpoint: Checkpoint, kind: FaultKind | None, scratch_dir: Path) -> Checkpoint:
    """A copy that is damaged as the fault says; the checkpoint itself where that damages none."""
    damage = DAMAGES.get(kind) if kind else None
    if damage is None:
        return checkpoint
    copy = scratch_dir / "damaged"
    copy.mkdir(parents=True, exist_ok=True)
    for old in copy.iterdir():
        old.unlink()
    for file in checkpoint.path.iterdir():
        if file.is_file():
            (copy / file.name).symlink_to(file.resolve())
    damage(copy)
    return checkpoint.model_copy(update={"path": copy})


def _last_shard(copy: Path) -> Path:
    return page_cache.weight_files(copy)[-1]


def _rewrite(copy: Path, change: Callable[[bytes], bytes]) -> None:
    shard = _last_shard(copy)
    with shard.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        file.seek(0)
        data = file.read(8 + header_bytes + _KEPT_BYTES)
    shard.unlink()
    shard.write_bytes(change(data))


def _other_shapes(copy: Path) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.get("text_config", config)["intermediate_size"] *= 2
    path.unlink()
    path.write_text(json.dumps(config), encoding="utf-8")


DAMAGES: Final[dict[FaultKind, Callable[[Path], None]]] = {
    FaultKind.MISSING_SHARD: lambda copy: _last_shard(copy).unlink(),
    FaultKind.TRUNCATED_SHARD: lambda copy: _rewrite(copy, lambda data: data[: len(data) // 2]),
    FaultKind.CORRUPT_HEADER: lambda copy: _rewrite(copy, lambda data: data[:8] + bytes(64) + data[72:]),
    FaultKind.OTHER_SHAPES: _other_shapes,
}


if __name__ == "__main__":
    main()

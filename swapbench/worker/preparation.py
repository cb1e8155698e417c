"""Before a swap: the page cache made what the experiment says, and free memory the machine's again.

A virtual machine may give free pages back to its host within seconds, and get each one back only by a trap at
the next write: the first loader after a pause would pay for that, and be compared with one that did not.
"""

import mmap
import subprocess
import sys

import psutil

from swapbench.base.process import LENT
from swapbench.instruments import page_cache
from swapbench.machine import allowance
from swapbench.spec.experiment import PageCache
from swapbench.wire.plan import Checkpoint


def set_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Read the checkpoint's weights in, or drop them, or leave them."""
    page_cache.arrange(page_cache.weight_files(checkpoint.path), label)


def keep_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Kernels that reclaim idle pages take some back while requests are brought in flight."""
    files = page_cache.weight_files(checkpoint.path)
    if label is PageCache.WARM and page_cache.residency(files).share < 1:
        page_cache.prime(files)


# What is free is the system's to hand out meanwhile; what is left keeps it from reclaiming for us.
_MOST_OF_FREE = 0.9
_HEADROOM = 1.1
_PAGE_BYTES = 4096


def touch_free_memory(wanted_bytes: int) -> None:
    """Have a child write to as much free memory as a model of `wanted_bytes` takes, and end.

    A child, since its pages go back as they are: free, and backed by the host.
    """
    free_bytes = min(psutil.virtual_memory().free, allowance.memory().available.bytes)
    length = int(min(wanted_bytes * _HEADROOM, free_bytes * _MOST_OF_FREE))
    if length > 0:
        subprocess.run([sys.executable, *LENT, "swapbench.worker.preparation", str(length)], check=True)


def main() -> None:
    """Write to as many bytes as the command line says."""
    length = int(sys.argv[1])
    with mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, length, _PAGE_BYTES):
            memory[at] = 1


if __name__ == "__main__":
    main()

"""The page cache before a swap, made what the experiment says."""

from typing import Final

from swapbench import page_cache
from swapbench.experiment import PageCache
from swapbench.wire import Checkpoint

# How often a page cache is emptied before a swap is left to be called invalid.
_EVICTIONS: Final = 5


def set_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Read the checkpoint's weights in, or drop them, or leave them."""
    files = page_cache.weight_files(checkpoint.path)
    if label is PageCache.WARM:
        page_cache.prime(files)
    elif label is PageCache.COLD:
        # Pages that the kernel is just moving between its lists are passed over.
        for _ in range(_EVICTIONS):
            page_cache.evict(files)
            if page_cache.residency(files).resident_bytes == 0:
                break


def keep_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Kernels that reclaim idle pages take some back while requests are brought in flight."""
    files = page_cache.weight_files(checkpoint.path)
    if label is PageCache.WARM and page_cache.residency(files).share < 1:
        page_cache.prime(files)

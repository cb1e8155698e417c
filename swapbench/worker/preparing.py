"""The page cache before a swap, made what the experiment says."""

from swapbench.instruments import page_cache
from swapbench.spec.experiment import PageCache
from swapbench.wire.events import Checkpoint


def set_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Read the checkpoint's weights in, or drop them, or leave them."""
    page_cache.arrange(page_cache.weight_files(checkpoint.path), label)


def keep_page_cache(checkpoint: Checkpoint, label: PageCache) -> None:
    """Kernels that reclaim idle pages take some back while requests are brought in flight."""
    files = page_cache.weight_files(checkpoint.path)
    if label is PageCache.WARM and page_cache.residency(files).share < 1:
        page_cache.prime(files)

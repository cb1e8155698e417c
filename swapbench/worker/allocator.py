"""The C allocator's own store of freed memory, which no counter of MLX's shows."""

import ctypes
import sys
from collections.abc import Callable


def _find_trim() -> Callable[[int], int] | None:
    # glibc only: macOS has Metal's buffers instead, and musl keeps nothing back.
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


_malloc_trim = _find_trim()


def give_back() -> None:
    """Return what was freed to the OS.

    MLX's CPU build allocates weights by malloc, and glibc raises its threshold for separate mappings to
    32 MiB when such are freed: most tensors of the next model then come from its heap, which would keep
    gigabytes after an unload.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)

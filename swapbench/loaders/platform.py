"""What a platform offers loaders beyond POSIX: the one place in this package that asks which it is."""

import ctypes
import errno
import mmap
import sys
from typing import Final

import numpy as np

LINUX: Final = sys.platform == "linux"

HUGE_PAGE_BYTES: Final = 2 << 20
# What O_DIRECT wants of offsets, lengths and addresses: no disk has larger blocks.
BLOCK_BYTES: Final = 4096

_MADV_HUGEPAGE: Final = 14  # <asm-generic/mman-common.h>
_MADV_POPULATE_READ: Final = 22
_MAP_FIXED: Final = 0x10
_M_TRIM_THRESHOLD: Final = -1  # <malloc.h>
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

# glibc serves what is at least this large by mmap, whatever it has learned (DEFAULT_MMAP_THRESHOLD_MAX).
_MMAP_THRESHOLD_MAX_BYTES: Final = 32 << 20
_KEPT_MMAP_THRESHOLD_BYTES: Final = 1 << 30

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]

_keeps_freed_memory = False


def ask_for_huge_pages(address: int, length: int) -> None:
    """Have whole pages of the range backed by 2 MiB pages, where the kernel has them (Linux)."""
    if LINUX:
        begin = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (address + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            _libc.madvise(begin, end - begin, _MADV_HUGEPAGE)


def keep_freed_memory() -> str:
    """Have malloc keep what is freed, for the next model; returns why it can't, empty when it does.

    From here on the process never shrinks by itself: `give_back_freed_memory` shrinks it.
    """
    global _keeps_freed_memory
    mallopt = getattr(_libc, "mallopt", None) if LINUX else None
    if mallopt is None:
        return "malloc has no mallopt here"
    settings = (
        (_M_MMAP_THRESHOLD, _KEPT_MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, (1 << 31) - 1),
        (_M_TOP_PAD, 64 << 20),
    )
    if not all(mallopt(name, value) for name, value in settings):
        return "mallopt refuses its settings"
    _keeps_freed_memory = True
    return ""


def give_back_freed_memory() -> None:
    """Return what was freed to the system.

    MLX's CPU build allocates weights by malloc, and glibc raises its threshold for separate mappings to
    32 MiB when such are freed: most tensors of the next model then come from its heap, which would keep
    gigabytes after an unload. macOS has Metal's buffers instead, and musl keeps nothing back.
    """
    trim = getattr(_libc, "malloc_trim", None) if LINUX else None
    if trim is not None:
        trim(0)


class _MallInfo2(ctypes.Structure):
    """struct mallinfo2 of <malloc.h>; glibc has it since 2.33."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def freed_memory_bytes() -> int:
    """What was freed and is still the process's, for its next allocations; 0 where malloc doesn't tell."""
    mallinfo2 = getattr(_libc, "mallinfo2", None) if LINUX else None
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _MallInfo2
    return int(mallinfo2().fordblks)


def least_mapped_allocation_bytes() -> int:
    """An allocation of at least this many bytes is a mapping of its own, and unmapped when freed."""
    return (_KEPT_MMAP_THRESHOLD_BYTES if _keeps_freed_memory else _MMAP_THRESHOLD_MAX_BYTES) + (1 << 20)


def lay_over(address: int, length: int, descriptor: int, offset: int) -> None:
    """Put pages of a file in place of those at `address`, writes staying private (Linux); raises OSError."""
    flags = mmap.MAP_PRIVATE | _MAP_FIXED
    got = _libc.mmap(address, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, offset)
    if got != address:
        raise OSError(ctypes.get_errno(), "mmap over an array failed")


def populate(address: int, length: int) -> None:
    """Have every page of a mapping resident, read from disk where need be; OSError of one that can't be."""
    if LINUX:
        if _libc.madvise(address, length, _MADV_POPULATE_READ) == 0:
            return
        code = ctypes.get_errno()
        if code != errno.EINVAL:
            raise OSError(code, "a page of a checkpoint can't be read")
    # Kernels before 5.14, and macOS: have them read ahead in large pieces, then touch a byte of each, without
    # Python's lock. Of a file that is cut off meanwhile, the kernel ends the process by SIGBUS.
    begin = address // mmap.PAGESIZE * mmap.PAGESIZE
    _libc.madvise(begin, address + length - begin, mmap.MADV_WILLNEED)
    pages = (ctypes.c_uint8 * length).from_address(address)
    np.ctypeslib.as_array(pages)[:: mmap.PAGESIZE].sum()

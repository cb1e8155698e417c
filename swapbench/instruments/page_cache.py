"""The page cache of a checkpoint's files: filled, emptied, and looked at with mincore.

The one place that knows how a platform evicts: Linux by posix_fadvise, macOS by msync(MS_INVALIDATE).
"""

import ctypes
import fcntl
import mmap
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from swapbench.spec.experiment import PageCache

# A file counts as warm or cold when this share of it is, or isn't, in the page cache.
WARM_SHARE = 0.99
COLD_SHARE = 0.01

_CHUNK_BYTES = 8 << 20
_WINDOW_BYTES = 64 << 10
_WINDOWS = 512
# How often files are evicted before what stays is left to be called invalid.
_EVICTIONS = 5
_F_NOCACHE = 48  # <sys/fcntl.h> of macOS
_MS_INVALIDATE = 0x2  # <sys/mman.h>, the same on Linux and macOS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
# Without letting go of Python's lock: thousands of quick calls would each wait for whoever parses a tokenizer
# meanwhile to hand it back.
_quick = ctypes.PyDLL(None, use_errno=True)
_quick.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


@dataclass(frozen=True)
class Residency:
    """How much of some files is in the page cache."""

    resident_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """Resident share, 0 to 1; 1 for files without bytes."""
        return self.resident_bytes / self.total_bytes if self.total_bytes else 1.0


def open_past(path: Path) -> int | None:
    """A descriptor whose reads go past the page cache; None on a volume that has no such reads, as tmpfs."""
    if hasattr(os, "O_DIRECT"):
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_DIRECT)
        return None
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):
        fcntl.fcntl(descriptor, _F_NOCACHE, 1)
        return descriptor
    os.close(descriptor)
    return None


def weight_files(checkpoint: Path) -> list[Path]:
    """The files that a load of the checkpoint reads its weights from."""
    return sorted(checkpoint.glob("model*.safetensors"))


def residency(files: Iterable[Path]) -> Residency:
    """By mincore, what of the bytes looked at is resident: all of a file of up to 32 MiB, 512 windows of
    64 KiB spread evenly over a larger one, every page of which would take 0.1 s in the middle of a swap.

    Raises:
        OSError: a file can't be opened or mapped.
    """
    resident = looked_at = 0
    states = ctypes.create_string_buffer(_WINDOW_BYTES // mmap.PAGESIZE)
    for path in files:
        with _mapped(path) as (address, size):
            stride = max(1, -(-size // (_WINDOWS * _WINDOW_BYTES))) * _WINDOW_BYTES
            for offset in range(0, size, stride):
                length = min(_WINDOW_BYTES, size - offset)
                if _quick.mincore(address + offset, length, states):
                    raise OSError(ctypes.get_errno(), "mincore failed", str(path))
                pages = -(-length // mmap.PAGESIZE)
                # Only the lowest bit is defined on every platform; macOS sets others too.
                present = sum(byte & 1 for byte in states.raw[:pages])
                resident += present * mmap.PAGESIZE
                looked_at += pages * mmap.PAGESIZE
    return Residency(resident, looked_at)


def prime(files: Iterable[Path]) -> None:
    """Read the files through once, so that they are in the page cache as far as it holds them."""
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def evict(files: Iterable[Path]) -> None:
    """Drop the files' pages from the page cache, dirty ones after writing them; needs no privileges."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if sys.platform != "darwin":
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if sys.platform == "darwin":
            with _mapped(path) as (address, size):
                if size and _libc.msync(address, size, _MS_INVALIDATE):
                    raise OSError(ctypes.get_errno(), "msync(MS_INVALIDATE) failed", str(path))


def arrange(files: Iterable[Path], label: PageCache) -> None:
    """Make true of the files, as far as the system obeys, what the label says of them."""
    every = list(files)
    if label is PageCache.WARM:
        prime(every)
    elif label is PageCache.COLD:
        # Pages that the kernel is just moving between its lists are passed over.
        for _ in range(_EVICTIONS):
            evict(every)
            if residency(every).resident_bytes == 0:
                break


@contextmanager
def _mapped(path: Path) -> Iterator[tuple[int, int]]:
    """A shared read-only mapping of the whole file: address and size in bytes. Faults no page in."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            yield 0, 0
            return
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap failed", str(path))
        try:
            yield address, size
        finally:
            _libc.munmap(address, size)

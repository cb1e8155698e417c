"""`python -m swapbench.worker.roofline FOLDER`: how fast this machine moves bytes, one result a line.

A process of its own, so that the memory which it fills and the page cache which it empties are nobody
else's. The scratch file is written into FOLDER, since disks differ, and removed whatever happens.
"""

import argparse
import ctypes
import mmap
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt
import psutil

from swapbench.limits import Kind, Rate
from swapbench.worker import page_cache

FILE_BYTES: Final = 1 << 30
_LEAST_FILE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 8 << 20
_DEPTHS: Final = (1, 2, 4, 8)
_REPEATS: Final = 3
_F_NOCACHE: Final = 48  # <sys/fcntl.h> of macOS

# <sys/mman.h> of Linux; Python's mmap has them only where it was built with them.
_MADV_HUGEPAGE: Final = 14
_MADV_NOHUGEPAGE: Final = 15

Bytes = npt.NDArray[np.uint8]


def main() -> None:
    """Measure everything, each result printed as soon as it is there."""
    parser = argparse.ArgumentParser(prog="swapbench.worker.roofline")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        with scratch_file(folder) as path:
            for rate in measure(path):
                print(rate.model_dump_json(), flush=True)
    except OSError as error:
        sys.exit(f"{folder}: {error.strerror or error}")


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """A file of bytes that no disk can compress, on disk, and gone afterwards.

    Raises:
        OSError: it can't be written, or there is no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder).free
    size = min(FILE_BYTES, free_bytes // 4, psutil.virtual_memory().available // 8)
    size -= size % _CHUNK_BYTES
    if size < _LEAST_FILE_BYTES:
        room = (
            f"{free_bytes / 1e9:.1f} GB of disk, {psutil.virtual_memory().available / 1e9:.1f} GB of memory"
        )
        raise OSError(f"too little room to measure in: {room} are free")
    path = folder / f".roofline-{os.getpid()}"
    try:
        random = np.random.default_rng(0)
        with path.open("wb") as file:
            for _ in range(size // _CHUNK_BYTES):
                file.write(random.bytes(_CHUNK_BYTES))
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def measure(path: Path) -> Iterator[Rate]:
    """Disk, page cache and memory, in this order: the file is cold first and warm from then on."""
    size = path.stat().st_size
    with _pages(size, huge=None) as buffer:
        for depth in _DEPTHS:
            yield _rate("disk", f"queue depth {depth}", size, partial(_read_cold, path, buffer, depth))
    page_cache.prime([path])
    for huge in _page_choices():
        yield _read_into_fresh_memory(path, size, huge)
    for huge in _page_choices():
        with _pages(size, huge) as buffer:
            _read(path, buffer)
            page_bytes = _page_bytes(buffer)
            yield _rate("read_touched", "one thread", size, partial(_read, path, buffer), page_bytes)
    yield from _copies(size // 2)


def _rate(kind: Kind, how: str, size: int, move: Callable[[], None], page_bytes: int | None = None) -> Rate:
    seconds = []
    for _ in range(_REPEATS):
        begun_s = time.perf_counter()
        move()
        seconds.append(time.perf_counter() - begun_s)
    return _summary(kind, how, size, seconds, page_bytes)


def _summary(kind: Kind, how: str, size: int, seconds: list[float], page_bytes: int | None) -> Rate:
    rates = [size / s / 1e9 for s in seconds]
    return Rate(
        kind=kind,
        how=how,
        page_bytes=page_bytes,
        n=len(rates),
        low=min(rates),
        median=median(rates),
        high=max(rates),
    )


def _read_cold(path: Path, buffer: memoryview, depth: int) -> None:
    """The whole file past the page cache, `depth` requests at a time."""
    page_cache.evict([path])
    size = len(buffer)
    descriptor = _open_uncached(path)
    try:
        with ThreadPoolExecutor(depth) as threads:
            offsets = range(0, size, _CHUNK_BYTES)
            for got in threads.map(
                lambda at: os.preadv(descriptor, [buffer[at : at + _CHUNK_BYTES]], at), offsets
            ):
                assert got == _CHUNK_BYTES
    finally:
        os.close(descriptor)


def _open_uncached(path: Path) -> int:
    if sys.platform == "darwin":
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
        fcntl.fcntl(descriptor, _F_NOCACHE, 1)
        return descriptor
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:  # tmpfs and some network file systems have no direct reads
        return os.open(path, os.O_RDONLY)


def _read(path: Path, buffer: memoryview) -> None:
    """The whole file out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for at in range(0, len(buffer), _CHUNK_BYTES):
            os.preadv(descriptor, [buffer[at : at + _CHUNK_BYTES]], at)
    finally:
        os.close(descriptor)


def _read_into_fresh_memory(path: Path, size: int, huge: bool | None) -> Rate:
    """What a first load does: the pages that it writes to have to be found and cleared first."""
    seconds, page_bytes = [], None
    for _ in range(_REPEATS):
        with _pages(size, huge) as buffer:
            begun_s = time.perf_counter()
            _read(path, buffer)
            seconds.append(time.perf_counter() - begun_s)
            page_bytes = _page_bytes(buffer)
    return _summary("read_fresh", "one thread", size, seconds, page_bytes)


def _copies(size: int) -> Iterator[Rate]:
    """Memory to memory, by one thread and by as many as there are cores."""
    huge = True if sys.platform == "linux" else None
    with _pages(size, huge) as source, _pages(size, huge) as target:
        ours, theirs = np.frombuffer(source, np.uint8), np.frombuffer(target, np.uint8)
        ours[:] = 1
        theirs[:] = 2
        page_bytes = _page_bytes(target)
        for threads in sorted({1, os.cpu_count() or 1}):
            how = "one thread" if threads == 1 else f"{threads} threads"
            yield _rate("copy", how, size, partial(_copy, ours, theirs, threads), page_bytes)
        # The memory can't be given back while arrays look into it.
        del ours, theirs


def _copy(source: Bytes, target: Bytes, threads: int) -> None:
    parts = zip(np.array_split(source, threads), np.array_split(target, threads), strict=True)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))


def _page_choices() -> tuple[bool | None, ...]:
    """Linux has pages of two sizes to write to, which differ several-fold; macOS has one."""
    return (False, True) if sys.platform == "linux" else (None,)


@contextmanager
def _pages(size: int, huge: bool | None) -> Iterator[memoryview]:
    """Fresh anonymous memory, of the wished page size as far as the kernel goes along."""
    # Private: shared memory has no huge pages where it isn't asked for.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge is not None:
        # A kernel without huge pages refuses; what was got is told by _page_bytes.
        with suppress(OSError):
            memory.madvise(_MADV_HUGEPAGE if huge else _MADV_NOHUGEPAGE)
    view = memoryview(memory)
    try:
        yield view
    finally:
        view.release()
        memory.close()


def _page_bytes(buffer: memoryview) -> int:
    """The size of most of the pages that hold the buffer, which has been written to."""
    if sys.platform != "linux":
        return mmap.PAGESIZE
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    resident_kib = huge_kib = 0
    for line in _mapping_of(address):
        name, _, rest = line.partition(":")
        if name == "Rss":
            resident_kib = int(rest.split()[0])
        elif name == "AnonHugePages":
            huge_kib = int(rest.split()[0])
    return 2 << 20 if resident_kib and huge_kib > resident_kib / 2 else mmap.PAGESIZE


def _mapping_of(address: int) -> Iterator[str]:
    """The lines of /proc/self/smaps about the mapping that holds the address."""
    inside = False
    with open("/proc/self/smaps", encoding="utf-8") as maps:
        for line in maps:
            first, _, _ = line.partition(" ")
            if "-" in first:
                low, _, high = first.partition("-")
                inside = int(low, 16) <= address < int(high, 16)
            elif inside:
                yield line


if __name__ == "__main__":
    main()

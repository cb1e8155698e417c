"""`python -m swapbench.worker.roofline FOLDER`: how fast this machine moves bytes, one result a line.

A process of its own, so that the memory which it fills and the page cache which it empties are nobody
else's. The scratch file is written into FOLDER, since disks differ, and has no name there: whatever ends
this process, the system takes it back.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from swapbench.instruments import page_cache
from swapbench.machine import allowance
from swapbench.machine.environment import Kind, Rate

FILE_BYTES: Final = 1 << 30
_LEAST_FILE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 8 << 20
# How many requests at a time; as many as loaders read at most through the page cache, too, right beside the
# same past it, since they are compared.
_COLD: Final[tuple[tuple[Kind, int], ...]] = (
    *(("disk", 1), ("disk", 2), ("disk", 4)),
    *(("disk_buffered", 4), ("disk", 8)),
)
_REPEATS: Final = 3
# A slow disk gets a smaller file and fewer repeats, so that all of it stays under a minute.
_WRITE_BUDGET_S: Final = 8.0
_RATE_BUDGET_S: Final = 4.0
_SYNC_BYTES: Final = 64 << 20

# <sys/mman.h> of Linux; Python's mmap has them only where it was built with them.
_MADV_HUGEPAGE: Final = 14
_MADV_NOHUGEPAGE: Final = 15

Bytes = npt.NDArray[np.uint8]

# Moves the bytes once, and tells the seconds that this took.
Move = Callable[[], float]


@dataclass(frozen=True)
class Scratch:
    """The file that is read: through the page cache, or past it (None where the file system can't)."""

    cached: int
    direct: int | None
    size: int

    @property
    def path(self) -> Path:
        """A name for it in this process: it has none in its folder."""
        return Path(f"/dev/fd/{self.cached}")

    def share(self) -> float:
        return page_cache.residency([self.path]).share

    def made_cold(self) -> bool:
        """Drop it from the page cache; whether it is gone."""
        page_cache.evict([self.path])
        return self.share() <= page_cache.COLD_SHARE

    def made_warm(self) -> bool:
        """Read into the page cache what is not there; whether all of it is."""
        if self.share() < page_cache.WARM_SHARE:
            # macOS opens /dev/fd as a duplicate, which goes on where the descriptor stands.
            os.lseek(self.cached, 0, os.SEEK_SET)
            page_cache.prime([self.path])
        return self.share() >= page_cache.WARM_SHARE


def main() -> None:
    parser = argparse.ArgumentParser(prog="swapbench.worker.roofline")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        with scratch_file(folder) as scratch:
            for rate in measure(scratch):
                print(rate.model_dump_json(), flush=True)
    except OSError as error:
        sys.exit(f"{folder}: {error.strerror or error}")


@contextmanager
def scratch_file(folder: Path) -> Iterator[Scratch]:
    """A file of bytes that no disk can compress, on disk and gone afterwards; OSError without room."""
    folder.mkdir(parents=True, exist_ok=True)
    size = size_that_fits(folder)
    path = folder / f".roofline-{os.getpid()}"
    with ExitStack() as stack:
        cached = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(os.close, cached)
        try:
            direct = page_cache.open_past(path)
        finally:
            path.unlink()
        if direct is not None:
            stack.callback(os.close, direct)
        yield Scratch(cached, direct, write_incompressible(cached, size))


def size_that_fits(folder: Path) -> int:
    free_bytes = shutil.disk_usage(folder).free
    memory = allowance.memory().available
    size = min(FILE_BYTES, free_bytes // 4, memory.bytes // 8)
    if size < _LEAST_FILE_BYTES:
        room = f"{free_bytes / 1e9:.1f} GB of disk, {memory.bytes / 1e9:.1f} GB of memory"
        raise OSError(f"too little room to measure in: {room} are free{memory.limited}")
    return size - size % _CHUNK_BYTES


def write_incompressible(descriptor: int, size: int) -> int:
    """Write while there is time, and no less than can be measured with; returns how much that is."""
    random = np.random.default_rng(0)
    ends_s = time.monotonic() + _WRITE_BUDGET_S
    written = 0
    while written < size and (written < _LEAST_FILE_BYTES or time.monotonic() < ends_s):
        rest = memoryview(random.bytes(_CHUNK_BYTES))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        written += _CHUNK_BYTES
        if written % _SYNC_BYTES == 0:
            os.fsync(descriptor)
    os.fsync(descriptor)
    return written


def measure(scratch: Scratch) -> Iterator[Rate]:
    """Disk, page cache and memory, in this order: the file is cold first and warm from then on.

    A rate whose premise does not hold is left out: no direct reads, or a page cache that can't be emptied,
    leave the disk unknown, and a page cache that does not hold the file leaves warm reads unknown.
    """
    size = scratch.size
    # A file in memory would be read as fast as memory, and called a disk.
    if scratch.direct is not None and scratch.made_cold():
        with _pages(size, huge=None) as buffer:
            for kind, depth in _COLD:
                descriptor = scratch.direct if kind == "disk" else scratch.cached
                read = partial(_read_cold, scratch, descriptor, buffer, depth)
                yield _rate(kind, f"queue depth {depth}", size, read)
    # Linux has pages of two sizes to write to, which differ several-fold; macOS has one.
    choices = (False, True) if sys.platform == "linux" else (None,)
    if scratch.made_warm():
        for huge in choices:
            yield _read_into_fresh_memory(scratch, huge)
        for huge in choices:
            with _pages(size, huge) as buffer:
                _read(scratch.cached, buffer)
                read = partial(_read_warm, scratch, buffer)
                yield _rate("read_touched", "one thread", size, read, _page_bytes(buffer))
    yield from _copies(size // 2)


def _rate(kind: Kind, how: str, size: int, move: Move, page_bytes: int | None = None) -> Rate:
    """What repeats of a move come to; fewer where each takes long."""
    ends_s = time.monotonic() + _RATE_BUDGET_S
    rates: list[float] = []
    while not rates or (len(rates) < _REPEATS and time.monotonic() < ends_s):
        rates.append(size / move() / 1e9)
    low, high = min(rates), max(rates)
    return Rate(
        kind=kind, how=how, page_bytes=page_bytes, n=len(rates), low=low, median=median(rates), high=high
    )


def _timed(move: Callable[[], None]) -> float:
    begun_s = time.perf_counter()
    move()
    return time.perf_counter() - begun_s


def _read_cold(scratch: Scratch, descriptor: int, buffer: memoryview, depth: int) -> float:
    """The whole file from the disk, `depth` requests at a time; returns the seconds it took."""
    scratch.made_cold()
    read = partial(_read_chunk, descriptor, buffer)

    def move() -> None:
        with ThreadPoolExecutor(depth) as threads:
            for _ in threads.map(read, range(0, len(buffer), _CHUNK_BYTES)):
                pass

    return _timed(move)


def _read_warm(scratch: Scratch, buffer: memoryview) -> float:
    """The whole file out of the page cache; kernels that take idle pages back are read up on before."""
    scratch.made_warm()
    return _timed(partial(_read, scratch.cached, buffer))


def _read(descriptor: int, buffer: memoryview) -> None:
    for at in range(0, len(buffer), _CHUNK_BYTES):
        _read_chunk(descriptor, buffer, at)


def _read_chunk(descriptor: int, buffer: memoryview, at: int) -> None:
    end = at + _CHUNK_BYTES
    while at < end:
        got = os.preadv(descriptor, [buffer[at:end]], at)
        if got == 0:
            raise OSError("the scratch file became shorter while it was read")
        at += got


def _read_into_fresh_memory(scratch: Scratch, huge: bool | None) -> Rate:
    """What a first load does: the pages that it writes to have to be found and cleared first."""
    page_bytes = 0

    def read() -> float:
        nonlocal page_bytes
        with _pages(scratch.size, huge) as buffer:
            took_s = _read_warm(scratch, buffer)
            page_bytes = _page_bytes(buffer)
        return took_s

    rate = _rate("read_fresh", "one thread", scratch.size, read)
    return rate.model_copy(update={"page_bytes": page_bytes})


def _copies(size: int) -> Iterator[Rate]:
    """Memory to memory, by one thread and by as many as there are cores for it."""
    huge = True if sys.platform == "linux" else None
    with _pages(size, huge) as source, _pages(size, huge) as target:
        ours, theirs = np.frombuffer(source, np.uint8), np.frombuffer(target, np.uint8)
        ours[:] = 1
        theirs[:] = 2
        page_bytes = _page_bytes(target)
        for threads in sorted({1, allowance.processors().threads}):
            how = "one thread" if threads == 1 else f"{threads} threads"
            copy = partial(_timed, partial(_copy, ours, theirs, threads))
            yield _rate("copy", how, size, copy, page_bytes)
        # The memory can't be given back while arrays look into it.
        del ours, theirs, copy


def _copy(source: Bytes, target: Bytes, threads: int) -> None:
    parts = zip(np.array_split(source, threads), np.array_split(target, threads), strict=True)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))


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
    kib: dict[str, int] = {}
    inside = False
    with open("/proc/self/smaps", encoding="utf-8") as maps:
        for line in maps:
            name, *rest = line.split()
            if "-" in name:  # another mapping
                low, high = (int(end, 16) for end in name.split("-"))
                inside = low <= address < high
            elif inside and name in ("Rss:", "AnonHugePages:"):
                kib[name] = int(rest[0])
    return 2 << 20 if kib.get("AnonHugePages:", 0) > kib.get("Rss:", 0) / 2 else mmap.PAGESIZE


if __name__ == "__main__":
    main()

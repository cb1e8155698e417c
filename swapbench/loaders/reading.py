"""Byte ranges of files, brought into memory by several threads."""

import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from swapbench.instruments import page_cache
from swapbench.loaders.arrays import address_of
from swapbench.loaders.platform import BLOCK_BYTES, HUGE_PAGE_BYTES, ask_for_huge_pages
from swapbench.loaders.source import UnfitError
from swapbench.machine.allowance import processors

# Large enough for one request to keep a disk busy, small enough for the last thread not to be waited for.
PIECE_BYTES: Final = 8 << 20

# Copying from the page cache is bound by cores, a disk by how many requests it has at once.
_CACHED_THREADS: Final = min(4, processors().threads)
_DIRECT_THREADS: Final = 4


@dataclass(frozen=True)
class Transfer:
    """Bytes of a file from `offset` on, as many as `target` has room for."""

    path: Path
    offset: int
    target: memoryview

    def split(self) -> "list[Transfer]":
        """In pieces that end where the file's own pieces end."""
        parts, at, end = [], self.offset, self.offset + self.target.nbytes
        while at < end:
            until = min(end, (at // PIECE_BYTES + 1) * PIECE_BYTES)
            parts.append(Transfer(self.path, at, self.target[at - self.offset : until - self.offset]))
            at = until
        return parts


class Reading:
    """Transfers under way from the moment this is made; `wait` for all of them, or `stop` them.

    Args:
        direct: read past the page cache.

    Raises:
        UnfitError: `direct`, on a volume that has no such reads.
        OSError: a file can't be opened.
    """

    def __init__(self, transfers: Iterable[Transfer], *, direct: bool = False) -> None:
        self._pieces = [piece for transfer in transfers for piece in transfer.split()]
        self._next = 0
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stopped = False
        self._direct = direct
        self.done_bytes = 0
        self._files = _Files({piece.path for piece in self._pieces}, direct)
        count = min(_DIRECT_THREADS if direct else _CACHED_THREADS, len(self._pieces))
        self._threads = [
            threading.Thread(target=self._work, name="reader", daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until everything is there.

        Raises:
            OSError: a file can't be read, or ends too early.
        """
        for thread in self._threads:
            thread.join()
        self._files.close()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Read no more, and wait until nobody writes to the targets any longer."""
        self._stopped = True
        with suppress(OSError):
            self.wait()

    def _take(self) -> Transfer | None:
        with self._lock:
            if self._stopped or self._error is not None or self._next == len(self._pieces):
                return None
            self._next += 1
            return self._pieces[self._next - 1]

    def _work(self) -> None:
        try:
            bounce = _bounce() if self._direct else None
            while (piece := self._take()) is not None:
                if bounce is None:
                    _read(self._files.cached[piece.path], piece)
                else:
                    _read_direct(self._files, piece, bounce)
                with self._lock:
                    self.done_bytes += piece.target.nbytes
        except BaseException as error:  # noqa: BLE001 - a thread's border: whoever waits is told
            self._error = error


class _Files:
    """The files of a reading, open while it lasts."""

    def __init__(self, paths: Iterable[Path], direct: bool) -> None:
        self.cached: dict[Path, int] = {}
        self.direct: dict[Path, int] = {}
        try:
            for path in paths:
                self.cached[path] = os.open(path, os.O_RDONLY)
                if direct:
                    descriptor = page_cache.open_past(path)
                    if descriptor is None:
                        raise UnfitError(f"the volume of {path.parent} has no reads past the page cache")
                    self.direct[path] = descriptor
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for descriptors in (self.cached, self.direct):
            while descriptors:
                os.close(descriptors.popitem()[1])


def _read(descriptor: int, piece: Transfer) -> None:
    done = 0
    while done < piece.target.nbytes:
        got = os.preadv(descriptor, [piece.target[done:]], piece.offset + done)
        if got == 0:
            raise OSError(f"{piece.path}: ends at byte {piece.offset + done}, in the middle of its tensors")
        done += got


def _read_direct(files: _Files, piece: Transfer, bounce: memoryview) -> None:
    """Whole blocks straight to where they belong if they may lie there, else by way of `bounce`."""
    begin, end = piece.offset, piece.offset + piece.target.nbytes
    if (address_of(piece.target) - begin) % BLOCK_BYTES == 0:
        first, last = min(end, -(-begin // BLOCK_BYTES) * BLOCK_BYTES), end // BLOCK_BYTES * BLOCK_BYTES
        if first < last:
            middle = piece.target[first - begin : last - begin]
            _read(files.direct[piece.path], Transfer(piece.path, first, middle))
        for low, high in ((begin, first), (max(first, last), end)):
            if low < high:
                edge = piece.target[low - begin : high - begin]
                _read(files.cached[piece.path], Transfer(piece.path, low, edge))
        return
    low, high = begin // BLOCK_BYTES * BLOCK_BYTES, -(-end // BLOCK_BYTES) * BLOCK_BYTES
    done = low
    while done < end:
        got = os.preadv(files.direct[piece.path], [bounce[done - low : high - low]], done)
        if got == 0:
            raise OSError(f"{piece.path}: ends at byte {done}, in the middle of its tensors")
        done += got
    # numpy copies without Python's lock, a memoryview with it.
    np.copyto(np.frombuffer(piece.target, np.uint8), np.frombuffer(bounce, np.uint8)[begin - low : end - low])


def _bounce() -> memoryview:
    """Memory for one piece and the blocks at its ends; freed with the last view of it."""
    length = PIECE_BYTES + HUGE_PAGE_BYTES
    memory = memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    ask_for_huge_pages(address_of(memory), length)
    return memory


def touch(memory: memoryview) -> None:
    """Write to every page, by several threads, so that no load has to wait for the system to find them."""
    whole = np.frombuffer(memory, np.uint8)
    parts: Sequence[np.ndarray[tuple[int], np.dtype[np.uint8]]] = np.array_split(whole, _CACHED_THREADS)
    threads = [threading.Thread(target=part.fill, args=(0,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

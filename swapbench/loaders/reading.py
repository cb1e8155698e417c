"""Byte ranges of files, brought into memory by several threads."""

import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np

from swapbench.instruments import page_cache
from swapbench.loaders.arrays import UnfitError, address_of
from swapbench.loaders.platform import BLOCK_BYTES, HUGE_PAGE_BYTES, ask_for_huge_pages
from swapbench.machine.allowance import processors

# Large enough for one request to keep a disk busy, small enough for the last thread not to be waited for.
PIECE_BYTES: Final = 8 << 20

# Copying from the page cache is bound by cores, a disk by how many requests it has at once.
_CACHED_THREADS: Final = min(4, processors().threads)
_DIRECT_THREADS: Final = 4

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
_Piece = TypeVar("_Piece")


class Threads(Generic[_Piece]):
    """Threads that take pieces in turn, until none is left, one of them fails, or they are stopped."""

    def __init__(
        self, name: str, count: int, pieces: Iterable[_Piece], work: Callable[[Iterator[_Piece]], None]
    ) -> None:
        self._left = deque(pieces)
        self._error: BaseException | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until everything is done; raises what a thread raised."""
        for thread in self._threads:
            thread.join()
        self._left.clear()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Begin no other piece, and wait until nobody works any longer."""
        self._stopped = True
        with suppress(OSError):
            self.wait()

    def _run(self, work: Callable[[Iterator[_Piece]], None]) -> None:
        try:
            work(self._pieces())
        except BaseException as error:  # noqa: BLE001 - a thread's border: whoever waits is told
            self._error = error

    def _pieces(self) -> Iterator[_Piece]:
        with suppress(IndexError):
            while not (self._stopped or self._error):
                yield self._left.popleft()


@dataclass(frozen=True)
class Transfer:
    """Bytes of a file from `offset` on, as many as `target` has room for."""

    path: Path
    offset: int
    target: memoryview

    def part(self, begin: int, end: int) -> "Transfer":
        return Transfer(self.path, begin, self.target[begin - self.offset : end - self.offset])

    def split(self) -> Iterator["Transfer"]:
        """In pieces that end where the file's own pieces end."""
        at, end = self.offset, self.offset + self.target.nbytes
        while at < end:
            until = min(end, (at // PIECE_BYTES + 1) * PIECE_BYTES)
            yield self.part(at, until)
            at = until


class ParallelRead(Threads[Transfer]):
    """Transfers under way, past the page cache where `direct`; `wait` for all of them, or `stop` them.

    Raises UnfitError on a volume that has no direct reads, OSError where a file can't be opened; `wait`
    raises it where one can't be read, or ends too early.
    """

    def __init__(self, transfers: Iterable[Transfer], *, direct: bool = False) -> None:
        pieces = [piece for transfer in transfers for piece in transfer.split()]
        self._direct = direct
        self._lock = threading.Lock()
        self.done_bytes = 0
        self._open = ExitStack()
        self._cached: dict[Path, int] = {}
        self._past: dict[Path, int] = {}
        try:
            for path in {piece.path for piece in pieces}:
                self._cached[path] = os.open(path, os.O_RDONLY)
                self._open.callback(os.close, self._cached[path])
                if direct:
                    descriptor = page_cache.open_past(path)
                    if descriptor is None:
                        raise UnfitError(f"the volume of {path.parent} has no reads past the page cache")
                    self._open.callback(os.close, descriptor)
                    self._past[path] = descriptor
        except BaseException:
            self._open.close()
            raise
        count = min(_DIRECT_THREADS if direct else _CACHED_THREADS, len(pieces))
        super().__init__("reader", count, pieces, self._read)

    def wait(self) -> None:
        try:
            super().wait()
        finally:
            self._open.close()

    def _read(self, pieces: Iterator[Transfer]) -> None:
        bounce = _bounce() if self._direct else None
        for piece in pieces:
            if bounce is None:
                _read(self._cached[piece.path], piece)
            else:
                _read_direct(self._cached[piece.path], self._past[piece.path], piece, bounce)
            with self._lock:
                self.done_bytes += piece.target.nbytes


def _read(descriptor: int, piece: Transfer) -> None:
    done = 0
    while done < piece.target.nbytes:
        got = os.preadv(descriptor, [piece.target[done:]], piece.offset + done)
        if got == 0:
            raise OSError(f"{piece.path}: ends at byte {piece.offset + done}, in the middle of its tensors")
        done += got


def _read_direct(cached: int, past: int, piece: Transfer, bounce: memoryview) -> None:
    """Whole blocks straight to where they belong if they may lie there, else by way of `bounce`."""
    begin, end = piece.offset, piece.offset + piece.target.nbytes
    if (address_of(piece.target) - begin) % BLOCK_BYTES == 0:
        first, last = min(end, -(-begin // BLOCK_BYTES) * BLOCK_BYTES), end // BLOCK_BYTES * BLOCK_BYTES
        if first < last:
            _read(past, piece.part(first, last))
        for low, high in ((begin, first), (max(first, last), end)):
            if low < high:
                _read(cached, piece.part(low, high))
        return
    low, high = begin // BLOCK_BYTES * BLOCK_BYTES, -(-end // BLOCK_BYTES) * BLOCK_BYTES
    done = low
    while done < end:
        got = os.preadv(past, [bounce[done - low : high - low]], done)
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
    parts: Sequence[Bytes] = np.array_split(np.frombuffer(memory, np.uint8), _CACHED_THREADS)

    def fill(mine: Iterator[Bytes]) -> None:
        for part in mine:
            part.fill(0)

    Threads("touch", _CACHED_THREADS, parts, fill).wait()

"""Copies of checkpoints whose tensors can be used where a mapping of the file has them.

A mapping becomes an array without a copy if the array begins at a page and each view of it at a multiple of
its item size. safetensors forbids gaps between tensors, so no tensor but the first can be given a page of its
own. It allows spaces after the header, though: they bring the data to a page, all of it becomes one array,
and the tensors are views of that. The files that there are have headers of any length, or of a multiple of 8.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from swapbench.base.errors import ModelError
from swapbench.models.cache import OnBytes, require_room, sync
from swapbench.models.checkpoint import HeaderError, TensorEntry, read_layout
from swapbench.models.stand_ins import store
from swapbench.models.stand_ins.shards import counted, header, write_all
from swapbench.models.validation import fault
from swapbench.spec.experiment import Source

# From a cache line, which no item is bigger than, to half of a huge page.
_ALIGN_BYTES: Final = [1 << power for power in range(6, 21)]

_BLOCK_BYTES: Final = 16 << 20


class Outcome(StrEnum):
    """What became of a request for a copy."""

    ALIGNED = "aligned"
    THERE = "there"
    WRITTEN = "written"


@dataclass(frozen=True)
class Copy:
    """A file of the copy, by its path in the folder: a header of its own (shards have one), then `pieces`.

    Of a piece: where it begins in the original, and its bytes. `aligned`: whether the original lies so too.
    """

    path: Path
    header: bytes
    pieces: tuple[tuple[int, int], ...]
    aligned: bool = True

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(nbytes for _, nbytes in self.pieces)


def repack(source: Path, target: Path, align_bytes: int, on_bytes: OnBytes) -> Outcome:
    """Have `target` be a copy of the checkpoint `source` whose data begins at multiples of `align_bytes`.

    Nothing is written when the checkpoint is such a one itself, or the copy is there: that is believed once
    every byte has been compared. Until a copy is complete nothing lies under its name.

    Raises:
        ModelError: the checkpoint is damaged, or the copy can't be written there.
    """
    if align_bytes not in _ALIGN_BYTES:
        low, high = _ALIGN_BYTES[0], _ALIGN_BYTES[-1]
        raise ModelError(f"--align {align_bytes}: must be a power of two from {low} to {high}")
    try:
        copies = plan(source, align_bytes)
        if all(copy.aligned for copy in copies):
            return Outcome.ALIGNED
        if target.exists():
            if target.is_dir() and _is_copy(source, copies, target, on_bytes):
                return Outcome.THERE
            raise ModelError(
                f"{target} is there already and is no such copy of {source}; remove it, or give another --out"
            )
        if target.resolve().is_relative_to(source.resolve()):
            raise ModelError(f"--out {target} lies in the checkpoint's own folder; give one outside it")
        if not target.parent.is_dir():
            raise ModelError(f"--out {target}: there is no folder {target.parent}; make it first")
        remedy = "make room, or give --out a folder on another disk"
        require_room(target.parent, sum(copy.nbytes for copy in copies), "the copy takes", remedy)
        with _part_of(target) as part:
            _write(source, copies, part, on_bytes)
            part.rename(target)
            sync(target.parent)
    except OSError as error:
        raise ModelError(
            f"{error.filename or target}: {error.strerror}; no copy was made: "
            "give --out a folder that can be written, on a disk with room"
        ) from None
    return Outcome.WRITTEN


def plan(source: Path, align_bytes: int) -> tuple[Copy, ...]:
    """Every file that a checkpoint's copy has, by path, less hidden ones; ModelError if it is damaged."""
    if found := fault(source):
        raise ModelError(f"{source}: {store.advised(found, Source.LOCAL, source)}")
    return tuple(_planned(source, path, align_bytes) for path in _files(source))


def _planned(source: Path, path: Path, align_bytes: int) -> Copy:
    if path.suffix != ".safetensors":
        return Copy(path, b"", ((0, (source / path).stat().st_size),))
    try:
        before = read_layout(source / path)
    except HeaderError as error:
        raise ModelError(f"{source / path} {error}; get it again, or remove it") from None
    packed = _packed(before.entries)
    table: dict[str, Any] = {} if before.metadata is None else {"__metadata__": before.metadata}
    starts = {entry.name: before.data_start + entry.start for entry in before.entries}
    pieces: list[tuple[int, int]] = []  # those that follow one another in the original are one
    for entry in packed:
        places = [entry.start, entry.end]
        table[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": places}
        start, nbytes = starts[entry.name], entry.end - entry.start
        if pieces and sum(pieces[-1]) == start:
            start, nbytes = pieces[-1][0], pieces.pop()[1] + nbytes
        pieces.append((start, nbytes))
    aligned = packed == before.entries and before.data_start % align_bytes == 0
    return Copy(path, header(table, align_bytes), tuple(pieces), aligned)


def _packed(entries: tuple[TensorEntry, ...]) -> tuple[TensorEntry, ...]:
    """Tensors without gaps, in an order in which each begins at a multiple of its item size.

    The order of the original stays where it can, so that a copy is read in the same order: few files need
    another. Else bigger items come first, and each tensor ends at a multiple of the sizes that follow.
    """
    packed = _joined_up(entries)
    if all(entry.start % entry.align_bytes == 0 for entry in packed):
        return packed
    return _joined_up(sorted(entries, key=lambda entry: -entry.align_bytes))


def _joined_up(entries: Iterable[TensorEntry]) -> tuple[TensorEntry, ...]:
    joined = []
    end = 0
    for entry in entries:
        start, end = end, end + entry.end - entry.start
        joined.append(replace(entry, start=start, end=end))
    return tuple(joined)


def _files(folder: Path) -> list[Path]:
    """What is in a folder, by path in it; a link counts as what it leads to, as in a hub cache."""

    def refuse(error: OSError) -> None:
        raise error

    paths = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(parent, name) for name in names if not name.startswith(".")]
        paths += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is neither file nor folder, or a link to no file; remove it")
    return sorted(path.relative_to(folder) for path in paths)


def _is_copy(source: Path, copies: tuple[Copy, ...], target: Path, on_bytes: OnBytes) -> bool:
    """Whether a folder has what the copy would have; not by headers, which fine-tuned models share."""
    if _files(target) != [copy.path for copy in copies]:
        return False
    if any((target / copy.path).stat().st_size != copy.nbytes for copy in copies):
        return False
    tell = counted(sum(copy.nbytes for copy in copies), on_bytes)
    for copy in copies:
        with (target / copy.path).open("rb") as there:
            for block in _content(source, copy):
                if there.read(len(block)) != bytes(block):
                    return False
                tell(len(block))
    return True


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to write into; it is removed unless it has been renamed.

    The folder is its own lock: a lock file would have to stay, and this is somebody's folder.
    """
    part = store.part_of(target)
    part.mkdir(exist_ok=True)
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _lock(lock, target)
        try:
            for path in part.iterdir():  # that a run left which was killed
                store.discard(path)
            yield part
        except BaseException:
            store.discard(part)
            raise
    finally:
        os.close(lock)


def _lock(part: int, target: Path) -> None:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ModelError(f"another process is writing {target}; let it finish") from None
    except OSError:
        pass  # file systems of a network may not lock folders; then two at once end in an error of one
    if target.exists():  # it has finished in the meantime, and what was locked bears its name
        raise ModelError(f"another process has just written {target}; there is nothing left to do")


def _write(source: Path, copies: tuple[Copy, ...], part: Path, on_bytes: OnBytes) -> None:
    tell = counted(sum(copy.nbytes for copy in copies), on_bytes)
    folders = {part}
    for copy in copies:
        path = part / copy.path
        path.parent.mkdir(parents=True, exist_ok=True)
        folders |= {part / folder for folder in copy.path.parents}
        with path.open("xb", buffering=0) as file:
            for block in _content(source, copy):
                write_all(file.fileno(), block, tell)
            os.fsync(file.fileno())
    for folder in folders:
        sync(folder)


def _content(source: Path, copy: Copy) -> Iterator[memoryview]:
    """The bytes of a copied file, from the original; each block is gone when the next is asked for."""
    yield memoryview(copy.header)
    buffer = memoryview(bytearray(min(_BLOCK_BYTES, copy.nbytes)))
    with (source / copy.path).open("rb", buffering=0) as file:
        for start, nbytes in copy.pieces:
            file.seek(start)
            left_bytes = nbytes
            while left_bytes:
                count = file.readinto(buffer[:left_bytes])
                if not count:
                    raise ModelError(f"{source / copy.path} has become shorter while it was read; try again")
                yield buffer[:count]
                left_bytes -= count

"""One table of thousands of runs as a few large files: to open them one by one is what costs most, by far.

DuckDB takes half a millisecond and more to open a CSV, several seconds for 10,000 runs; to append them to one
another takes a tenth of that. Each row is led by its run's number. What is not plain (quotes, carriage
returns) goes through the reader of single runs, so that no run can spoil the rows of the next.
"""

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from swapbench.base.errors import ResultsError
from swapbench.store import read_rows

# Large enough that DuckDB's own start doesn't show, small enough to be held in memory.
_BATCH_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Gathered:
    """Rows of many runs' tables that have one header, in one file without it, led by the run's number."""

    file: Path
    header: tuple[str, ...]


@dataclass
class Tables:
    """One table of each run, by the run's number, and the columns that each must have.

    With `field`, rows without such a field may be passed over: of a million rows, most go no further.
    `unreadable` fills up while they are gathered.
    """

    files: Mapping[int, Path]
    needed: Sequence[str]
    field: str = ""
    unreadable: dict[int, str] = dataclasses.field(default_factory=dict)

    def gather(self, folder: Path) -> Iterator[Gathered]:
        """Files in `folder` that hold the rows of all; each is deleted when the next one is asked for."""
        waiting: dict[tuple[str, ...], list[bytes]] = {}
        held = batch = 0
        for number, path in self.files.items():
            try:
                header, rows = _whole_rows(path, self.needed)
                rows = _rows_with(f",{self.field},".encode(), rows) if self.field else rows
            except ResultsError as error:
                self.unreadable[number] = str(error)
                continue
            if rows:
                waiting.setdefault(header, []).append(_led_by(number, rows))
                held += len(rows)
            if held >= _BATCH_BYTES:
                yield from _written(waiting, folder, batch)
                waiting, held, batch = {}, 0, batch + 1
        yield from _written(waiting, folder, batch)


def _whole_rows(path: Path, needed: Sequence[str]) -> tuple[tuple[str, ...], bytes]:
    """Header and rows, each row with its line's end; without a last line that was torn."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    whole = data[: data.rfind(b"\n") + 1]
    if b'"' in whole or b"\r" in whole:
        whole = _plain(path)
    header, _, rows = whole.partition(b"\n")
    if not header:  # killed before it was written
        return (), b""
    names = _names(header)
    for column in needed:
        if column not in names:
            raise ResultsError(f"{path}: column {column} is missing")
    if len(set(names)) < len(names):
        raise ResultsError(f"{path}: a column is there twice")
    return names, rows


@cache
def _names(header: bytes) -> tuple[str, ...]:
    return tuple(header.decode("utf-8", "replace").split(","))


def _rows_with(text: bytes, rows: bytes) -> bytes:
    if b'"' in rows:  # a row may be several lines, and a field be quoted
        return rows
    found = []
    at = rows.find(text)
    while at >= 0:
        end = rows.find(b"\n", at) + 1
        found.append(rows[rows.rfind(b"\n", 0, at) + 1 : end])
        at = rows.find(text, end)
    return b"".join(found)


def _plain(path: Path) -> bytes:
    """The table as Python reads it, written anew with every quote in its place."""
    header, rows = read_rows(path, (), may_lack=False)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _led_by(number: int, rows: bytes) -> bytes:
    # Within a quoted field that holds a line break, the number lands in the field: no figure is quoted.
    return b"%d,%b\n" % (number, rows[:-1].replace(b"\n", b"\n%d," % number))


def _written(waiting: Mapping[tuple[str, ...], list[bytes]], folder: Path, batch: int) -> Iterator[Gathered]:
    for kind, (header, parts) in enumerate(waiting.items()):
        # A name of its own for each: DuckDB may keep what it read of a file.
        file = folder / f"{batch}-{kind}.csv"
        with file.open("wb") as rows:
            rows.writelines(parts)
        yield Gathered(file, header)
        file.unlink()

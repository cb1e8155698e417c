"""A run's folder, written row by row while the run goes on; and what a resumed run has to do again."""

import csv
import errno
import io
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from swapbench.base.errors import ResultsError
from swapbench.base.files import why_no_folder, write_atomically
from swapbench.spec.experiment import Source
from swapbench.store.runs import RunInfo, RunStatus
from swapbench.store.tables import read_rows
from swapbench.wire.events import Event, Note, WorkerReady
from swapbench.wire.measures import RunTable
from swapbench.wire.swap import (
    MEMORY,
    PHASES,
    REQUESTS,
    SWAPS,
    TABLES,
    ClientRequest,
    MemorySample,
    PhaseMeasured,
    SwapFinished,
    SwapKey,
)


def claim_folder(parent: Path, sources: Iterable[Source], now: datetime) -> Path:
    """Make a run's folder, which nobody else has: named by when (UTC), and by which sources.

    Raises:
        ResultsError: it can't be made.
    """
    stem = "-".join((f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}", *sources))
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for folder in (parent / name for name in names):
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else str(error.strerror)
        raise _no_room(parent, why) from None
    raise AssertionError("names have no end")


def refuse_unwritable(root: Path) -> None:
    """Whether runs can be kept below a folder, which need not be there yet, and isn't made.

    Raises:
        ResultsError: it, or what it would stand in, is no folder, or may not be written.
    """
    if why := why_no_folder(root):
        raise _no_room(root, why)


def _no_room(place: Path, why: str) -> ResultsError:
    return ResultsError(f"{place}: no run can be kept there: {why}; choose another place by --out")


class RunWriter:
    """Appends rows as events come; `sync` makes everything written so far survive a crash."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        """Begin in an empty folder, or go on in that of a resumed run."""
        self.folder = folder
        self.info = info
        self.update()
        # Where no client went on sending there is no table of requests.
        there = (table for table in TABLES if table is not REQUESTS or (folder / table.file).exists())
        self._tables = {table.message: _Table(folder, table) for table in there}

    def add(self, event: Event) -> None:
        """Write what of an event belongs on disk: a row, a note, or in run.json what measures now."""
        match event:
            case WorkerReady():
                arms = tuple(
                    arm.model_copy(update={"worker": event, "baselines": (*arm.baselines, event.baseline)})
                    if arm.name == event.arm
                    else arm
                    for arm in self.info.arms
                )
                self.update(worker=event, baselines=(*self.info.baselines, event.baseline), arms=arms)
            case Note():
                self.note(event.text)
            case SwapFinished():
                # Once all else of that swap is on disk: a finished swap is never lost.
                self.sync()
                self._append(event)
                self._tables[SwapFinished].sync()
            case PhaseMeasured() | MemorySample() | ClientRequest():
                self._append(event)

    def _append(self, event: Event) -> None:
        if type(event) not in self._tables:
            self._tables[type(event)] = _Table(self.folder, REQUESTS)
        self._tables[type(event)].append(self.info.run_id, event)

    def update(self, **changes: Any) -> None:
        """Change fields of run.json, atomically."""
        self.info = self.info.model_copy(update=changes)
        write_atomically(self.folder / "run.json", self.info.model_dump_json(indent=2) + "\n")

    def note(self, text: str) -> None:
        """Add a note to run.json."""
        self.update(notes=(*self.info.notes, text))

    def sync(self) -> None:
        """Bring everything to disk."""
        for table in self._tables.values():
            table.sync()

    def close(self, status: RunStatus, failure: str) -> None:
        """End the run: all is on disk before run.json says how it ended, and how many rows there are."""
        self.sync()
        tables = self._tables.values()
        for table in tables:
            table.file.close()
        self.update(
            status=status,
            failure=failure,
            finished_at=datetime.now(UTC),
            rows={table.path.name: table.rows for table in tables},
            sizes={table.path.name: table.path.stat().st_size for table in tables},
        )


class _Table:
    """One CSV, open for appending. A resumed one goes on after its last whole line, with its own columns."""

    def __init__(self, folder: Path, table: RunTable) -> None:
        self._table = table
        self.path = folder / table.file
        data = self.path.read_bytes() if self.path.exists() else b""
        if data and not data.endswith(b"\n"):
            os.truncate(self.path, data.rfind(b"\n") + 1)
        header, found = read_rows(self.path, table.names, may_lack=True)
        self.rows = len(found)
        self.file = self.path.open("a", newline="", encoding="utf-8")
        self._lines = csv.DictWriter(self.file, header, lineterminator="\n")
        if not self.file.tell():
            self._lines.writeheader()
            self.sync()

    def append(self, run_id: str, event: BaseModel) -> None:
        row = self._table.row(run_id, event)
        self._lines.writerow({key: _cell(value) for key, value in row.items()})
        self.rows += 1

    def sync(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())


def _cell(value: Any) -> Any:
    """CSV's form of a value: empty for None, true/false, and floats to the nanosecond."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return "" if value is None else value


def finished_swaps(folder: Path) -> frozenset[SwapKey]:
    """Arm, round, strategy and scenario of every swap that has a row in the run's folder, and no torn one."""
    done = {_key(row) for row in _rows(folder, SWAPS)[1]}
    for table in (PHASES, MEMORY, REQUESTS):
        path = folder / table.file
        if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            # Of whose rows the last whole one is, the torn one is too.
            done -= {_key(row) for row in _rows(folder, table)[1][-1:]}
    return frozenset(done)


def _rows(folder: Path, table: RunTable) -> tuple[list[str], list[dict[str, str]]]:
    header, lines = read_rows(folder / table.file, table.names, may_lack=True)
    return header, [dict(zip(header, line, strict=True)) for line in lines]


def _key(row: dict[str, str]) -> SwapKey:
    return row.get("arm", ""), int(row["round"]), row.get("strategy", ""), row["scenario"]


def drop_unfinished(folder: Path, done: Collection[SwapKey]) -> None:
    """Take what belongs to a swap without a row out of the tables: the resumed run measures it anew.

    Every table gets today's columns with it, since the resumed run appends to them; those that only a newer
    swapbench knows stay.
    """
    for table in TABLES:
        if not (folder / table.file).exists():
            continue
        header, rows = _rows(folder, table)
        kept = [row for row in rows if not row["scenario"] or _key(row) in done]
        text = io.StringIO()
        unknown = [column for column in header if column not in table.names]
        lines = csv.DictWriter(text, [*table.names, *unknown], lineterminator="\n")
        lines.writeheader()
        lines.writerows(kept)
        write_atomically(folder / table.file, text.getvalue())

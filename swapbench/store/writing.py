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
from typing import IO, Any

from swapbench.base.errors import ResultsError
from swapbench.base.files import why_no_folder, write_atomically
from swapbench.spec.experiment import Source
from swapbench.store.document import RunInfo, RunStatus
from swapbench.store.tables import read_rows
from swapbench.wire.events import WorkerReady
from swapbench.wire.measures import RunTable
from swapbench.wire.swap import (
    MEMORY,
    PHASES,
    REQUESTS,
    SWAPS,
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
        self._write_info()
        self._phases = _Table(folder, PHASES)
        self._swaps = _Table(folder, SWAPS)
        self._memory = _Table(folder, MEMORY)
        had_requests = (folder / REQUESTS.file).exists()
        self._requests = _Table(folder, REQUESTS) if had_requests else None

    def add_worker(self, worker: WorkerReady) -> None:
        """Note in run.json what measures now."""
        info = self.info
        arms = tuple(
            a.model_copy(update={"worker": worker, "baselines": (*a.baselines, worker.baseline)})
            if a.name == worker.arm
            else a
            for a in info.arms
        )
        self.update(worker=worker, baselines=(*info.baselines, worker.baseline), arms=arms)

    def add_phase(self, event: PhaseMeasured) -> None:
        """Append a row of phases.csv."""
        self._phases.append(PHASES.row(self.info.run_id, event))

    def add_swap(self, event: SwapFinished) -> None:
        """Append a row of swaps.csv once all else of that swap is on disk: a finished swap is never lost."""
        self.sync()
        self._swaps.append(SWAPS.row(self.info.run_id, event))
        self._swaps.sync()

    def add_sample(self, event: MemorySample) -> None:
        """Append a row of memory.csv."""
        self._memory.append(MEMORY.row(self.info.run_id, event))

    def add_request(self, event: ClientRequest) -> None:
        """Append a row of requests.csv, which is there only where clients went on sending."""
        if self._requests is None:
            self._requests = _Table(self.folder, REQUESTS)
        self._requests.append(REQUESTS.row(self.info.run_id, event))

    def update(self, **changes: Any) -> None:
        """Change fields of run.json, atomically."""
        self.info = self.info.model_copy(update=changes)
        self._write_info()

    def note(self, text: str) -> None:
        """Add a note to run.json."""
        self.update(notes=(*self.info.notes, text))

    def sync(self) -> None:
        """Bring everything to disk."""
        for table in self._tables():
            table.sync()

    def close(self, status: RunStatus, failure: str) -> None:
        """End the run: all is on disk before run.json says how it ended, and how many rows there are."""
        self.sync()
        for table in self._tables():
            table.close()
        self.update(
            status=status,
            failure=failure,
            finished_at=datetime.now(UTC),
            rows={table.name: table.rows for table in self._tables()},
            sizes={table.name: (self.folder / table.name).stat().st_size for table in self._tables()},
        )

    def _tables(self) -> "tuple[_Table, ...]":
        tables = (self._phases, self._swaps, self._memory)
        return tables if self._requests is None else (*tables, self._requests)

    def _write_info(self) -> None:
        write_atomically(self.folder / "run.json", self.info.model_dump_json(indent=2) + "\n")


class _Table:
    """One CSV, open for appending. A resumed one goes on after its last whole line, with its own columns."""

    def __init__(self, folder: Path, columns: RunTable) -> None:
        path = folder / columns.file
        _cut_torn_line(path)
        header, found = read_rows(path, columns.names, may_lack=True)
        fresh = not path.exists() or path.stat().st_size == 0
        self.name = columns.file
        self.rows = len(found)
        self._file: IO[str] = path.open("a", newline="", encoding="utf-8")
        self._lines = csv.DictWriter(self._file, header, lineterminator="\n")
        if fresh:
            self._lines.writeheader()
            self.sync()

    def append(self, row: dict[str, Any]) -> None:
        self._lines.writerow({key: _cell(value) for key, value in row.items()})
        self.rows += 1

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)


def _cell(value: Any) -> Any:
    """CSV's form of a value: empty for None, true/false, and floats to the nanosecond."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return "" if value is None else value


def finished_swaps(folder: Path) -> frozenset[SwapKey]:
    """Arm, round, strategy and scenario of every swap that has a row in the run's folder, and no torn one."""
    done = {
        (row.get("arm", ""), int(row["round"]), row["strategy"], row["scenario"])
        for row in _rows(folder, SWAPS)[1]
    }
    for columns in (PHASES, MEMORY, REQUESTS):
        if _is_torn(folder / columns.file):
            # Of whose rows the last whole one is, the torn one is too.
            last = [row for row in _rows(folder, columns)[1][-1:] if row["scenario"]]
            done -= {key for key in done if any(_is_of(row, [key]) for row in last)}
    return frozenset(done)


def _rows(folder: Path, columns: RunTable) -> tuple[list[str], list[dict[str, str]]]:
    header, lines = read_rows(folder / columns.file, columns.names, may_lack=True)
    return header, [dict(zip(header, line, strict=True)) for line in lines]


def _is_torn(path: Path) -> bool:
    data = path.read_bytes() if path.exists() else b""
    return data != b"" and not data.endswith(b"\n")


def drop_unfinished(folder: Path, done: Collection[SwapKey]) -> None:
    """Take what belongs to a swap without a row out of the tables: the resumed run measures it anew.

    Every table gets today's columns with it, since the resumed run appends to them; those that only a newer
    swapbench knows stay.
    """
    for columns in (PHASES, SWAPS, MEMORY, REQUESTS):
        if not (folder / columns.file).exists():
            continue
        header, rows = _rows(folder, columns)
        kept = [row for row in rows if not row["scenario"] or _is_of(row, done)]
        text = io.StringIO()
        unknown = [column for column in header if column not in columns.names]
        table = csv.DictWriter(text, [*columns.names, *unknown], lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        write_atomically(folder / columns.file, text.getvalue())


def _is_of(row: dict[str, str], swaps: Collection[SwapKey]) -> bool:
    """Whether a row belongs to one of the swaps; tables from before there were strategies name none."""
    number, strategy, scenario = int(row["round"]), row.get("strategy", ""), row["scenario"]
    if strategy:
        return (row.get("arm", ""), number, strategy, scenario) in swaps
    return any((number, scenario) == (key[1], key[3]) for key in swaps)

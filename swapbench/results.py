"""The run folder under results/: written row by row while a run goes on, read back by reports."""

import csv
import io
import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from swapbench.columns import MEMORY, PHASES, REQUESTS, SWAPS, Columns, released_column, settled_column
from swapbench.doctor import Check
from swapbench.environment import Machine
from swapbench.errors import ResultsError, did_you_mean
from swapbench.experiment import Experiment, Scenario
from swapbench.files import write_atomically
from swapbench.limits import Limits
from swapbench.phases import ALL_LEDGERS
from swapbench.plan import PairOrder, SwapKey
from swapbench.wire import (
    Checkpoint,
    ClientRequest,
    MemorySample,
    PhaseMeasured,
    Reading,
    Server,
    SwapFinished,
    WorkerReady,
)

if TYPE_CHECKING:
    import pandas as pd

# 1: first published form.
RESULTS_VERSION: Final = 1

# Runs that are kept to compare with stand beside the experiments' folders, under these names.
KEPT: Final = ("reference", "baselines")

RunStatus = Literal["running", "complete", "incomplete", "interrupted"]


class ArmInfo(BaseModel):
    """One of the two things that an A/B run compares: what it was carried out with.

    `label` is what it is called in reports; `settings` are the overrides that it has to itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    label: str
    python: str
    settings: tuple[str, ...] = ()
    experiment: dict[str, Any]
    models: tuple[Checkpoint, ...] = ()
    worker: WorkerReady | None = None
    baselines: tuple[Reading, ...] = ()
    server: Server | None = None


class RunInfo(BaseModel):
    """run.json: what was run, on what, with what, and how it ended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = RESULTS_VERSION
    run_id: str
    experiment_name: str
    experiment_file: str
    experiment: dict[str, Any]
    status: RunStatus
    failure: str = ""
    started_at: datetime
    finished_at: datetime | None = None
    command: tuple[str, ...] = ()
    swapbench_version: str
    machine: Machine
    worker: WorkerReady | None = None
    baselines: tuple[Reading, ...] = ()
    models: tuple[Checkpoint, ...] = ()
    arms: tuple[ArmInfo, ...] = ()
    pair_order: PairOrder = "abba"
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    limits: Limits | None = None
    transcribed_from: str = ""
    part_of: str = ""
    server: Server | None = None

    def target_s(self) -> float:
        """The experiment's target for the whole swap, in seconds."""
        return float(self.experiment["target_s"])


@dataclass(frozen=True)
class Run:
    """A run read back: run.json and the three tables, columns as named above, empty fields NaN."""

    folder: Path
    info: RunInfo
    phases: "pd.DataFrame"
    swaps: "pd.DataFrame"
    memory: "pd.DataFrame"
    requests: "pd.DataFrame"


def new_run_id(source: str, now: datetime, taken: Path) -> str:
    """A run's name: when (UTC), and which source; made unique among the folders in `taken`."""
    stem = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{source}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 1_000_000))
    return next(name for name in names if not (taken / name).exists())


class RunWriter:
    """Appends rows as events come; `sync` makes everything written so far survive a crash."""

    def __init__(self, folder: Path, info: RunInfo) -> None:
        """Create the folder, or go on in it when it has a run.json already (a resumed run)."""
        self.folder = folder
        self.info = info
        folder.mkdir(parents=True, exist_ok=True)
        self._write_info()
        self._phases = _Table(folder, PHASES)
        self._swaps = _Table(folder, SWAPS)
        self._memory = _Table(folder, MEMORY)
        self._requests: _Table | None = None
        self._arm, self._turn = "", 0

    def begin_turn(self, turn: int, arm: str) -> None:
        """Rows are of this turn, and of this arm, from now on."""
        self._turn, self._arm = turn, arm

    def add_worker(self, worker: WorkerReady, arm: str) -> None:
        """Note in run.json what measures now."""
        info = self.info
        arms = tuple(
            a.model_copy(update={"worker": worker, "baselines": (*a.baselines, worker.baseline)})
            if a.name == arm
            else a
            for a in info.arms
        )
        self.update(worker=worker, baselines=(*info.baselines, worker.baseline), arms=arms)

    def add_phase(self, event: PhaseMeasured, warmup: bool, scenario: Scenario, strategy: str) -> None:
        """Append a row of phases.csv."""
        row = event.model_dump(
            include={"round", "scenario", "phase", "span", "rank", "start_s", "seconds"}
        ) | {
            **self._of(),
            "warmup": warmup,
            "strategy": strategy,
            "from_model": scenario.from_model,
            "to_model": scenario.to_model,
            "mlx_peak_bytes": event.mlx_peak_bytes,
            "minor_faults": event.minor_faults,
            "major_faults": event.major_faults,
            "disk_read_bytes": event.disk_read_bytes,
            "weight_bytes": event.weight_bytes,
        }
        for ledger in ALL_LEDGERS:
            row[f"{ledger}_before_bytes"] = getattr(event.before, f"{ledger}_bytes")
            row[f"{ledger}_after_bytes"] = getattr(event.after, f"{ledger}_bytes")
        self._phases.append(row)

    def add_swap(self, event: SwapFinished) -> None:
        """Append a row of swaps.csv and sync: a finished swap is never lost."""
        row = event.model_dump(exclude={"event", "settled", "released"}) | self._of() | {"turn": self._turn}
        for ledger in ALL_LEDGERS:
            row[settled_column(ledger)] = getattr(event.settled, f"{ledger}_bytes")
            row[released_column(ledger)] = getattr(event.released, f"{ledger}_bytes")
        self._swaps.append(row)
        self.sync()

    def add_sample(self, event: MemorySample) -> None:
        """Append a row of memory.csv."""
        row = event.model_dump(exclude={"event", "ledgers"}) | event.ledgers.model_dump()
        self._memory.append(row | self._of())

    def add_request(self, event: ClientRequest) -> None:
        """Append a row of requests.csv, which is there only where clients went on sending."""
        if self._requests is None:
            self._requests = _Table(self.folder, REQUESTS)
        self._requests.append(event.model_dump(exclude={"event"}) | self._of())

    def _of(self) -> dict[str, str]:
        """Whose row it is, whatever the table."""
        return {"run_id": self.info.run_id, "arm": self._arm}

    def update(self, **changes: Any) -> None:
        """Change fields of run.json, atomically."""
        self.info = self.info.model_copy(update=changes)
        self._write_info()

    def sync(self) -> None:
        """Bring everything to disk."""
        for table in self._tables():
            table.sync()

    def close(self) -> None:
        """Sync and close the tables."""
        self.sync()
        for table in self._tables():
            table.close()

    def _tables(self) -> "tuple[_Table, ...]":
        tables = (self._phases, self._swaps, self._memory)
        return tables if self._requests is None else (*tables, self._requests)

    def _write_info(self) -> None:
        write_atomically(self.folder / "run.json", self.info.model_dump_json(indent=2) + "\n")


class _Table:
    """One CSV, open for appending. A resumed table goes on after its last whole line."""

    def __init__(self, folder: Path, columns: Columns) -> None:
        path = folder / columns.file
        _cut_torn_line(path)
        fresh = not path.exists() or path.stat().st_size == 0
        self._file: IO[str] = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._file, columns.all, lineterminator="\n")
        if fresh:
            self._rows.writeheader()

    def append(self, row: dict[str, Any]) -> None:
        self._rows.writerow({key: _cell(value) for key, value in row.items()})

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def finished_swaps(folder: Path) -> frozenset[SwapKey]:
    """Arm, round, strategy and scenario of every swap that has a row in the run's folder."""
    return frozenset(
        (row.get("arm", ""), int(row["round"]), row["strategy"], row["scenario"])
        for row in _raw_rows(folder / SWAPS.file)
    )


def drop_unfinished(folder: Path, done: Collection[SwapKey]) -> None:
    """Take what belongs to a swap without a row out of the tables: the resumed run measures it anew.

    Every table gets today's columns with it, since the resumed run appends to them.
    """
    for columns in (PHASES, SWAPS, MEMORY, REQUESTS):
        if not (folder / columns.file).exists():
            continue
        rows = _raw_rows(folder / columns.file)
        kept = [row for row in rows if not row["scenario"] or _is_of(row, done)]
        text = io.StringIO()
        table = csv.DictWriter(text, columns.all, lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        write_atomically(folder / columns.file, text.getvalue())


def _is_of(row: dict[str, str], swaps: Collection[SwapKey]) -> bool:
    """Whether a row belongs to one of the swaps; tables from before there were strategies name none."""
    number, strategy, scenario = int(row["round"]), row.get("strategy", ""), row["scenario"]
    if strategy:
        return (row.get("arm", ""), number, strategy, scenario) in swaps
    return any((number, scenario) == (key[1], key[3]) for key in swaps)


def _raw_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(_whole_lines(file)))
    except FileNotFoundError:
        return []


def read(folder: Path) -> Run:
    """Read a run back; a line torn by a crash is left out.

    Raises:
        ResultsError: the folder holds no run, or one this swapbench can't read.
    """
    outline = read_outline(folder)
    may_lack = _may_lack_tables(outline.info)
    return replace(
        outline,
        phases=_read_table(folder, PHASES, may_lack),
        memory=_read_table(folder, MEMORY, may_lack),
        requests=_read_table(folder, REQUESTS, may_lack=True),
    )


def raw_files(folder: Path) -> dict[str, bytes]:
    """run.json and the tables that a run has, by name, as they are on disk.

    Raises:
        ResultsError: one of them can't be read.
    """
    names = ("run.json", *(columns.file for columns in (SWAPS, PHASES, MEMORY, REQUESTS)))
    try:
        return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    except OSError as error:
        raise ResultsError(f"{folder}: can't be read: {error.strerror}") from None


def read_outline(folder: Path) -> Run:
    """A run with its swaps only, its other tables left empty: what a list of runs needs.

    Raises:
        ResultsError: as `read`.
    """
    info = read_info(folder)
    swaps = _read_table(folder, SWAPS, _may_lack_tables(info))
    return Run(folder, info, _frame(PHASES.all, []), swaps, _frame(MEMORY.all, []), _frame(REQUESTS.all, []))


def _may_lack_tables(info: RunInfo) -> bool:
    """A run that was killed right at its start may not have got as far as its tables."""
    return info.status != "complete"


def read_info(folder: Path) -> RunInfo:
    """run.json of a run.

    Raises:
        ResultsError: as `read`.
    """
    path = folder / "run.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        # Half a surrogate pair is valid JSON and no text: it could not be printed, nor written.
        json.dumps(raw, ensure_ascii=False).encode("utf-8")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}; `swapbench runs` shows the runs there are") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: not valid JSON: {error}") from None
    # Before anything else: a newer form may have changed every other field.
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > RESULTS_VERSION:
        raise ResultsError(
            f"{path}: schema_version {version} is newer than this swapbench reads "
            f"({RESULTS_VERSION}); upgrade swapbench"
        )
    try:
        return RunInfo.model_validate(raw)
    except ValidationError as error:
        raise ResultsError(f"{path}: {_first_fault(error)}") from None


def experiment_of(run: Run) -> Experiment:
    """The experiment that a run carried out, overrides included.

    Raises:
        ResultsError: run.json holds none that this swapbench understands.
    """
    return experiment_in(run.info, run.folder)


def experiment_in(info: RunInfo, folder: Path) -> Experiment:
    """As `experiment_of`, from run.json alone."""
    try:
        return Experiment.model_validate(info.experiment)
    except ValidationError as error:
        raise ResultsError(f"{folder / 'run.json'}: experiment.{_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"])) or "file"
    return " ".join(f"{where[:160]}: {fault['msg'][:300]}".split())


def find_runs(root: Path) -> list[Path]:
    """The folders below `root` that hold a run, readable or not, without those kept to compare with."""
    folders = (path.parent for path in root.glob("*/*/run.json"))
    return sorted(folder for folder in folders if folder.parent.name not in KEPT)


def list_runs(root: Path) -> list[tuple[Path, RunInfo]]:
    """Every readable run below `root`, oldest first; transcribed references are not among them."""
    found = []
    for folder in find_runs(root):
        try:
            info = read_info(folder)
        except ResultsError:
            continue
        if not info.transcribed_from:
            found.append((folder, info))
    return sorted(found, key=lambda entry: (entry[1].started_at.timestamp(), entry[0].name))


def resolve(root: Path, name: str | None) -> Path:
    """The folder of a run given by path, by `experiment/run`, by run id, or as None for the latest.

    Raises:
        ResultsError: there is no such run.
    """
    if name is not None:
        for folder in (Path(name), root / name, *(root / kept / name for kept in KEPT)):
            if _holds_run(folder):
                return folder
    runs = list_runs(root)
    latest = [(folder, info) for folder, info in runs if not info.part_of]
    if name is None:
        if latest:
            return latest[-1][0]
        raise ResultsError(f"no run under {root}; `swapbench run quick` makes one")
    found = [folder for folder, info in latest if info.experiment_name == name]
    found += [folder for folder, info in runs if info.run_id == name]
    if found:
        return found[-1]
    known = [name for _, info in runs for name in (info.experiment_name, info.run_id)]
    raise ResultsError(f'no run "{name}" under {root}; {did_you_mean(name, known)}')


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _read_table(folder: Path, columns: Columns, may_lack: bool) -> "pd.DataFrame":
    path = folder / columns.file
    header, rows = read_rows(path, columns.all, may_lack)
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise ResultsError(f"{path}: column {twice[0][:80]!r} is there twice")
    missing = [column for column in columns.first if column not in header]
    if missing:
        raise ResultsError(f"{path}: column {missing[0]} is missing")
    # A run from before a column was added did not record it.
    later = [column for column in columns.added if column not in header]
    frame = _frame([*header, *later], [[*row, *("" for _ in later)] for row in rows])
    for column in frame.columns:
        frame[column] = _typed(frame[column], path)
    return frame


def _frame(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def read_rows(path: Path, columns: Sequence[str], may_lack: bool) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table as text, without a torn last line; `columns` are the header of an empty one.

    Raises:
        ResultsError: it can't be read, or a line has too few or too many fields.
    """
    if may_lack and not path.exists():
        return list(columns), []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(_whole_lines(file))
            header = next(lines, list(columns))
            numbered = [(lines.line_num, row) for row in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: can't be read as CSV: {error}") from None
    if numbered and len(numbered[-1][1]) != len(header):
        del numbered[-1]  # torn within a quoted field that holds a line break
    for number, row in numbered:
        if len(row) != len(header):
            raise ResultsError(f"{path}: line {number} has {len(row)} fields, not {len(header)}")
    return header, [row for _, row in numbered]


_TEXT: Final = frozenset(
    (
        *("run_id", "scenario", "strategy", "from_model", "to_model", "phase", "span"),
        *(
            "invalid_reason",
            "status",
            "error",
            "failed_phase",
            "observer",
            "fault",
            "request",
            "model",
            "outcome",
            "loader",
            "loader_why",
            "arm",
        ),
    )
)
_FLAGS: Final = frozenset(("warmup", "valid", "carried"))


def _typed(column: "pd.Series[Any]", path: Path) -> "pd.Series[Any]":
    import pandas as pd

    if column.name == "round" and not all(str(value).isdecimal() for value in column):
        raise ResultsError(f"{path}: column round holds something that is no number of a round")
    if column.name in _TEXT:
        return column.astype(str)
    if column.name in _FLAGS:
        return column == "true"
    try:
        numbers = [float(value) if value else math.nan for value in column]
    except ValueError as error:
        raise ResultsError(f"{path}: column {str(column.name)[:80]}: {str(error)[:80]}") from None
    return pd.Series(numbers, index=column.index, dtype=float)


def _whole_lines(file: IO[str]) -> Iterator[str]:
    return (line for line in file if line.endswith("\n"))


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

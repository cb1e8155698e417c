"""A figure's median in each of thousands of runs: gathered into large tables for DuckDB.

To open them one by one is what costs most, by far: half a millisecond and more for a CSV, several seconds for
10,000 runs; to append them to one another takes a tenth of that. Each row is led by its run's number. What is
not plain (quotes, carriage returns) goes through the reader of single runs, so that no run can spoil the rows
of the next.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from swapbench.base.errors import ResultsError
from swapbench.base.phases import FIRST_TOKEN, PHASES, headline_figure
from swapbench.machine.allowance import processors
from swapbench.store.tables import read_rows
from swapbench.wire.columns import PHASES as PHASES_TABLE
from swapbench.wire.columns import SWAPS as SWAPS_TABLE

if TYPE_CHECKING:
    import duckdb

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


HEADLINE: Final = "headline"
_OF_SWAPS: Final = {"to_first_token": "to_first_token_s", "total": "total_s", FIRST_TOKEN: "first_token_s"}
FIGURES: Final = (*_OF_SWAPS, *map(str, PHASES))

# What is held is a row for each counted swap; DuckDB's own default is most of the machine.
_MEMORY_LIMIT: Final = "256MB"
_MOST_THREADS: Final = 4

_NUMBER: Final = "swapbench run number"
_REJECTED: Final = "rejected"
_NUMERIC: Final = {
    **dict.fromkeys(("round", "rank"), "INTEGER"),
    **dict.fromkeys(("total_s", "first_token_s", "to_first_token_s", "seconds"), "DOUBLE"),
}
_SWAP_COLUMNS: Final = ("round", "scenario", "strategy", "status", "valid", "warmup", *_OF_SWAPS.values())
_PHASE_COLUMNS: Final = ("round", "scenario", "strategy", "rank", "phase", "span", "seconds")

# Everything is named here and nothing sniffed: a look into each file would cost more than all that follows.
_TABLE: Final = (
    "read_csv($file, columns = $columns, header = false, auto_detect = false, delim = ',', quote = '\"', "
    f"escape = '\"', store_rejects = true, rejects_table = '{_REJECTED}')"
)
# Swaps of A/B comparisons are no history: their arms differ on purpose.
_COUNTED_SQL: Final = f"""
    SELECT "{_NUMBER}" AS number, round, scenario, strategy,
        if(isnan(total_s), NULL, total_s),
        if(isnan(first_token_s), NULL, first_token_s),
        if(isnan(to_first_token_s), NULL, to_first_token_s)
    FROM {_TABLE}
    WHERE status = 'ok' AND valid = 'true' AND warmup IS DISTINCT FROM 'true'
      AND (NOT isnan(total_s) OR NOT isnan(to_first_token_s)) AND coalesce({{arm}}, '') = ''
"""
# A phase has a row each time that it was entered, and of several ranks those that name none are the phase.
_PHASE_SQL: Final = f"""
    SELECT "{_NUMBER}" AS number, round, scenario, strategy,
        coalesce(sum(seconds) FILTER (rank IS NULL), sum(seconds) FILTER (rank = 0)) AS seconds
    FROM {_TABLE}
    WHERE phase = $phase AND NOT isnan(seconds) AND coalesce(span, '') = ''
    GROUP BY ALL
"""
_HEADLINE_SQL: Final = """
    SELECT number, scenario, strategy, count(*),
        count(to_first_token_s), median(to_first_token_s), count(total_s), median(total_s)
    FROM swaps GROUP BY ALL ORDER BY ALL
"""
# Of the swaps that have a figure, where others have none, the median would be of unlike ones.
_FIGURE_SQL: Final = """
    SELECT number, scenario, strategy, ?, median({column}), count(*)
    FROM swaps GROUP BY ALL HAVING count({column}) = count(*) ORDER BY ALL
"""
_PHASE_MEDIAN_SQL: Final = """
    SELECT number, scenario, strategy, ?, median(seconds), count(seconds)
    FROM swaps JOIN phases USING (number, round, scenario, strategy)
    GROUP BY ALL HAVING count(seconds) > 0 ORDER BY ALL
"""


@dataclass(frozen=True)
class Median:
    """The median over `swaps` counted swaps of the run with that number, in seconds."""

    number: int
    scenario: str
    strategy: str
    figure: str
    seconds: float
    swaps: int


@dataclass(frozen=True)
class Medians:
    """Every median there is, and the runs that can't be read, each with the reason."""

    rows: tuple[Median, ...]
    unreadable: dict[int, str]


def medians(folders: Sequence[Path], figure: str) -> Medians:
    """A figure's median in each scenario and strategy of each run; runs are numbered as in `folders`.

    Raises:
        ResultsError: the tables can't be gathered, as on a full disk.
    """
    import duckdb

    try:
        with TemporaryDirectory() as workplace, _connect(workplace) as connection:
            return _Reader(connection, Path(workplace), folders).read(figure)
    except (duckdb.Error, OSError) as error:
        raise ResultsError(f"a history can't be read: {str(error).splitlines()[0]}") from error


def _connect(workplace: str) -> "duckdb.DuckDBPyConnection":
    import duckdb

    return duckdb.connect(
        config={
            "memory_limit": _MEMORY_LIMIT,
            "threads": min(_MOST_THREADS, processors().threads),
            "temp_directory": workplace,
            "autoinstall_known_extensions": False,
        }
    )


class _Reader:
    """Fills the tables of one question, and answers it."""

    def __init__(
        self, connection: "duckdb.DuckDBPyConnection", workplace: Path, folders: Sequence[Path]
    ) -> None:
        self._connection = connection
        self._workplace = workplace
        self._folders = folders
        self._unreadable: dict[int, str] = {}

    def read(self, figure: str) -> Medians:
        self._fill_swaps()
        if figure == HEADLINE:
            rows = self._headlines()
        elif figure in _OF_SWAPS:
            rows = self._medians(_FIGURE_SQL.format(column=_OF_SWAPS[figure]), figure)
        else:
            self._fill_phases(figure)
            rows = self._medians(_PHASE_MEDIAN_SQL, figure)
        return Medians(tuple(row for row in rows if row.number not in self._unreadable), self._unreadable)

    def _headlines(self) -> Iterator[Median]:
        for number, scenario, strategy, swaps, answered, to_first_token_s, measured, total_s in self._rows(
            _HEADLINE_SQL
        ):
            figure = headline_figure(swaps, answered)
            by_token = figure == "to_first_token"
            seconds, n = (to_first_token_s, answered) if by_token else (total_s, measured)
            yield Median(number, scenario, strategy, figure, seconds, n)

    def _medians(self, select: str, figure: str) -> Iterator[Median]:
        return (Median(*row) for row in self._rows(select, figure))

    def _rows(self, select: str, *values: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(select, values).fetchall()

    def _fill_swaps(self) -> None:
        self._connection.execute(
            "CREATE TABLE swaps (number INTEGER, round INTEGER, scenario VARCHAR, strategy VARCHAR, "
            "total_s DOUBLE, first_token_s DOUBLE, to_first_token_s DOUBLE)"
        )
        for gathered in self._gathered(SWAPS_TABLE.file, _SWAP_COLUMNS):
            arm = "arm" if "arm" in gathered.header else "NULL"
            self._insert("swaps", _COUNTED_SQL.format(arm=arm), gathered)
        self._refuse_infinite("swaps", _OF_SWAPS.values())

    def _fill_phases(self, phase: str) -> None:
        self._connection.execute(
            "CREATE TABLE phases (number INTEGER, round INTEGER, scenario VARCHAR, strategy VARCHAR, "
            "seconds DOUBLE)"
        )
        for gathered in self._gathered(PHASES_TABLE.file, _PHASE_COLUMNS, phase):
            self._insert("phases", _PHASE_SQL, gathered, phase=phase)
        self._refuse_infinite("phases", ("seconds",))

    def _refuse_infinite(self, table: str, columns: Iterable[str]) -> None:
        for column in columns:
            for (number,) in self._rows(f"SELECT number FROM {table} WHERE isinf({column})"):
                path = self._folders[number] / f"{table}.csv"
                self._unreadable.setdefault(number, f"{path}: column {column}: no finite number")

    def _gathered(self, name: str, needed: Sequence[str], field: str = "") -> Iterator[Gathered]:
        files = {
            number: folder / name
            for number, folder in enumerate(self._folders)
            if number not in self._unreadable
        }
        tables = Tables(files, needed, field)
        yield from tables.gather(self._workplace)
        self._unreadable |= tables.unreadable

    def _insert(self, table: str, select: str, gathered: Gathered, **values: str) -> None:
        columns = {_NUMBER: "INTEGER"} | {
            column: _NUMERIC.get(column, "VARCHAR") for column in gathered.header
        }
        parameters = {"file": str(gathered.file), "columns": columns, **values}
        self._connection.execute(f"INSERT INTO {table} {select}", parameters)
        rejected = self._connection.execute(f"SELECT csv_line, error_message FROM {_REJECTED}").fetchall()
        for line, message in rejected:
            number = int(line.partition(",")[0])
            why = " ".join(message.splitlines()[0].split())
            self._unreadable.setdefault(number, f"{self._folders[number] / f'{table}.csv'}: {why}")
        self._connection.execute(f"DELETE FROM {_REJECTED}")

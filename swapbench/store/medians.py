"""A figure's median in each of many runs: DuckDB over their tables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from swapbench.base.errors import ResultsError
from swapbench.base.phases import FIRST_TOKEN, PHASES, headline_figure
from swapbench.machine.allowance import processors
from swapbench.store.gathering import Gathered, Tables
from swapbench.wire.columns import PHASES as PHASES_TABLE
from swapbench.wire.columns import SWAPS as SWAPS_TABLE

if TYPE_CHECKING:
    import duckdb

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

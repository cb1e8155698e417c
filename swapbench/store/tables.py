"""The tables of a run's folder, read back as they were written: rows by column, and medians of figures."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from swapbench.base.errors import ResultsError
from swapbench.base.phases import FIRST_TOKEN, counts, headline_figure
from swapbench.base.phases import PHASES as EIGHT
from swapbench.wire.measures import Kind, RunTable
from swapbench.wire.swap import PHASES, SWAPS

# By column: text, flags, and figures that are NaN where they were not recorded.
Row = Mapping[str, Any]


def read_rows(
    path: Path, columns: Sequence[str] = (), *, may_lack: bool = False, field: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table as text, without a torn last line.

    Args:
        columns: the header of an empty table.
        may_lack: whether it need not be there.
        field: rows without it may be left out; of a million rows, most then go no further.

    Raises:
        ResultsError: it can't be read, or a line has too few or too many fields.
    """
    if may_lack and not path.exists():
        return list(columns), []
    try:
        data = path.read_bytes()
        text = data[: data.rfind(b"\n") + 1].decode()
        if '"' in text or "\r" in text:
            lines = csv.reader(io.StringIO(text, newline=""))
            header = next(lines)
            numbered = [(lines.line_num, row) for row in lines]
        else:
            first, *others = text.split("\n")
            header, wanted = first.split(",") if first else list(columns), f",{field}," if field else ""
            numbered = [(n, line.split(",")) for n, line in enumerate(others[:-1], 2) if wanted in line]
    except FileNotFoundError:
        raise ResultsError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: can't be read as CSV: {error}") from None
    if numbered and len(numbered[-1][1]) != len(header) and '"' in text:
        del numbered[-1]  # torn within a quoted field that holds a line break
    for number, row in numbered:
        if len(row) != len(header):
            raise ResultsError(f"{path}: line {number} has {len(row)} fields, not {len(header)}")
    return header, [row for _, row in numbered]


def _refuse_header(path: Path, table: RunTable, header: Sequence[str]) -> None:
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise ResultsError(f"{path}: column {twice[:80]!r} is there twice")
    if missing := table.lacking(header):
        raise ResultsError(f"{path}: column {missing} is missing")


def read_table(folder: Path, table: RunTable, may_lack: bool) -> tuple[Row, ...]:
    """A table with today's columns; what an older run did not record is NaN.

    Raises:
        ResultsError: as `read_rows`, or a column is missing, there twice, or of another kind.
    """
    path = folder / table.file
    header, rows = read_rows(path, table.names, may_lack=may_lack)
    _refuse_header(path, table, header)
    kinds = {column.name: column.kind for column in table.columns}
    by_column = dict.fromkeys(table.names, [""] * len(rows)) | dict(
        zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True)
    )
    values = [_typed(name, texts, path, kinds.get(name)) for name, texts in by_column.items()]
    return tuple(dict(zip(by_column, row, strict=True)) for row in zip(*values, strict=True))


def number(value: Any) -> float | None:
    """A figure of a table; None where it was not recorded."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _typed(column: str, texts: Sequence[str], path: Path, kind: Kind | None) -> Sequence[str | bool | float]:
    if column == "round" and not all(text.isdecimal() for text in texts):
        raise ResultsError(f"{path}: column round holds something that is no number of a round")
    if kind == "text":
        return texts
    if kind == "flag":
        return [text == "true" for text in texts]
    return _numbers(column, texts, path, unknown=kind is None)


def _numbers(column: str, texts: Sequence[str], path: Path, *, unknown: bool = False) -> Sequence[Any]:
    """Figures; an `unknown` column, of a newer swapbench, may be of text, which it then stays."""
    try:
        numbers = [float(text) if text else math.nan for text in texts]
    except ValueError as error:
        if unknown:
            return texts
        raise ResultsError(f"{path}: column {column[:80]}: {str(error)[:80]}") from None
    for value, text in zip(numbers, texts, strict=True):
        if math.isinf(value):
            raise ResultsError(f"{path}: column {column[:80]}: no finite number: {text[:80]!r}")
    return numbers


HEADLINE: Final = "headline"
_OF_SWAPS: Final = {"to_first_token": "to_first_token_s", "total": "total_s", FIRST_TOKEN: "first_token_s"}
FIGURES: Final = (*_OF_SWAPS, *map(str, EIGHT))

# One swap by its scenario, strategy and round.
_Swap = tuple[str, str, str]


@dataclass(frozen=True)
class Median:
    """The median over `swaps` counted swaps, in seconds."""

    scenario: str
    strategy: str
    figure: str
    seconds: float
    swaps: int


def medians(folder: Path, figure: str) -> list[Median]:
    """A figure's median in each scenario and strategy of a run, over the swaps that count.

    A history asks it of thousands of runs. Of swaps that have a figure, where others have none, the median
    would be of unlike ones: there is none.

    Raises:
        ResultsError: a table can't be read.
    """
    cells: dict[tuple[str, str], dict[_Swap, dict[str, float]]] = {}
    for swap, had in _counted(folder).items():
        cells.setdefault(swap[:2], {})[swap] = had
    phases = {} if figure in (HEADLINE, *_OF_SWAPS) else _phase(folder, figure)
    found = []
    for (scenario, strategy), swaps in sorted(cells.items()):
        chosen = figure
        if figure == HEADLINE:
            chosen = headline_figure(len(swaps), sum("to_first_token_s" in had for had in swaps.values()))
        if chosen in _OF_SWAPS:
            column = _OF_SWAPS[chosen]
            values = [had[column] for had in swaps.values() if column in had]
            if figure != HEADLINE and len(values) < len(swaps):
                continue
        else:
            values = [phases[swap] for swap in swaps if swap in phases]
        if values:
            found.append(Median(scenario, strategy, chosen, median(values), len(values)))
    return found


def _counted(folder: Path) -> dict[_Swap, dict[str, float]]:
    """The figures of each swap that counts. Those of A/B comparisons don't: their arms differ on purpose."""
    path, counted = folder / SWAPS.file, {}
    for row in _texts(path, SWAPS):
        if row.get("arm"):
            continue
        had = {}
        for column in _OF_SWAPS.values():
            (seconds,) = _numbers(column, [row[column]], path)
            if not math.isnan(seconds):
                had[column] = seconds
        if counts(row["status"], row["valid"] == "true", row["warmup"] == "true", had):
            counted[row["scenario"], row["strategy"], row["round"]] = had
    return counted


def _phase(folder: Path, phase: str) -> dict[_Swap, float]:
    """A phase of each swap: it has a row each time it was entered. Of several ranks, those that name none are
    all together; where there are none such, the first rank stands for them."""
    path = folder / PHASES.file
    of_rank: dict[str, dict[_Swap, float]] = {"": {}, "0": {}}
    for row in _texts(path, PHASES, phase):
        if row["phase"] != phase or row["span"] or row["rank"] not in of_rank:
            continue
        (seconds,) = _numbers("seconds", [row["seconds"]], path)
        if not math.isnan(seconds):
            swap, found = (row["scenario"], row["strategy"], row["round"]), of_rank[row["rank"]]
            found[swap] = found.get(swap, 0.0) + seconds
    return of_rank["0"] | of_rank[""]


def _texts(path: Path, table: RunTable, field: str = "") -> Iterator[dict[str, str]]:
    header, rows = read_rows(path, table.names, field=field)
    _refuse_header(path, table, header)
    return (dict(zip(header, row, strict=True)) for row in rows)

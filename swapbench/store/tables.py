"""The tables of a run's folder, read back as they were written: a row is a mapping by column."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from swapbench.base.errors import ResultsError
from swapbench.store.document import RunInfo
from swapbench.wire.measures import Kind, RunTable

# By column: text, flags, and figures that are NaN where they were not recorded.
Row = Mapping[str, Any]


def read_rows(path: Path, columns: Sequence[str], may_lack: bool) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table as text, without a torn last line; `columns` are the header of an empty one.

    Raises:
        ResultsError: it can't be read, or a line has too few or too many fields.
    """
    if may_lack and not path.exists():
        return list(columns), []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(whole_lines(file))
            header = next(lines, list(columns))
            numbered = [(lines.line_num, row) for row in lines]
    except FileNotFoundError:
        raise ResultsError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: can't be read as CSV: {error}") from None
    if numbered and len(numbered[-1][1]) != len(header):
        del numbered[-1]  # torn within a quoted field that holds a line break
    for number, row in numbered:
        if len(row) != len(header):
            raise ResultsError(f"{path}: line {number} has {len(row)} fields, not {len(header)}")
    return header, [row for _, row in numbered]


def damage(folder: Path, info: RunInfo) -> str:
    """What has become of a run's tables since it ended; empty where they are whole.

    Of thousands of runs a history must know: a table of its old size is not opened.

    Raises:
        ResultsError: as `read_rows`.
    """
    changed = []
    for name, written in (info.rows or {}).items():
        try:
            if (folder / name).stat().st_size == (info.sizes or {}).get(name):
                continue
        except FileNotFoundError:
            changed.append(f"{name} is missing")
            continue
        rows = _count(folder / name)
        if rows != written:
            changed.append(
                f"{name} has {rows} of its {written} rows" if rows < written else f"{name} has rows added"
            )
    if not changed:
        return ""
    return f"{', '.join(changed)}: changed since the run ended; its figures are not to be believed"


def _count(path: Path) -> int:
    data = path.read_bytes()
    plain = b'"' not in data
    return max(data.count(b"\n") - 1, 0) if plain else len(read_rows(path, (), may_lack=False)[1])


def whole_lines(file: IO[str]) -> Iterator[str]:
    """Without one that a crash has torn."""
    return (line for line in file if line.endswith("\n"))


def read_table(folder: Path, table: RunTable, may_lack: bool) -> tuple[Row, ...]:
    """A table with today's columns; what an older run did not record is NaN.

    Raises:
        ResultsError: as `read_rows`, or a column is missing, there twice, or of another kind.
    """
    path = folder / table.file
    header, rows = read_rows(path, table.names, may_lack)
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise ResultsError(f"{path}: column {twice[0][:80]!r} is there twice")
    later = [column for column in table.columns if column.name not in header]
    for column in later:
        if column.required:
            raise ResultsError(f"{path}: column {column.name} is missing")
    names = [*header, *(column.name for column in later)]
    whole = ([*row, *("" for _ in later)] for row in rows)
    texts = zip(*whole, strict=True) if rows else ((),) * len(names)
    by_column = [
        _typed(name, texts_, path, table.kinds.get(name)) for name, texts_ in zip(names, texts, strict=True)
    ]
    return tuple(dict(zip(names, values, strict=True)) for values in zip(*by_column, strict=True))


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
    try:
        numbers = [float(text) if text else math.nan for text in texts]
    except ValueError as error:
        if kind is None:  # a newer swapbench's, of text
            return texts
        raise ResultsError(f"{path}: column {column[:80]}: {str(error)[:80]}") from None
    for value, text in zip(numbers, texts, strict=True):
        if math.isinf(value):
            raise ResultsError(f"{path}: column {column[:80]}: no finite number: {text[:80]!r}")
    return numbers

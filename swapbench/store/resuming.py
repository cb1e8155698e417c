"""What a run that did not end has got done, and has to do again."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from swapbench.base.files import write_atomically
from swapbench.store.tables import read_rows
from swapbench.wire.columns import MEMORY, PHASES, REQUESTS, SWAPS, Columns
from swapbench.wire.plan import SwapKey


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


def _rows(folder: Path, columns: Columns) -> tuple[list[str], list[dict[str, str]]]:
    header, lines = read_rows(folder / columns.file, columns.all, may_lack=True)
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
        unknown = [column for column in header if column not in columns.all]
        table = csv.DictWriter(text, [*columns.all, *unknown], lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        write_atomically(folder / columns.file, text.getvalue())


def _is_of(row: dict[str, str], swaps: Collection[SwapKey]) -> bool:
    """Whether a row belongs to one of the swaps; tables from before there were strategies name none."""
    number, strategy, scenario = int(row["round"]), row.get("strategy", ""), row["scenario"]
    if strategy:
        return (row.get("arm", ""), number, strategy, scenario) in swaps
    return any((number, scenario) == (key[1], key[3]) for key in swaps)

"""What a run that did not end has got done, and has to do again."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from swapbench.columns import MEMORY, PHASES, REQUESTS, SWAPS
from swapbench.files import write_atomically
from swapbench.plan import SwapKey
from swapbench.results.tables import whole_lines


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
            return list(csv.DictReader(whole_lines(file)))
    except FileNotFoundError:
        return []

"""A history in each form, and the baselines that keep runs for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from rich.console import Console

from swapbench.compare.series import Past
from swapbench.report.blocks import Cell, Table
from swapbench.report.documents import as_document
from swapbench.report.render.terminal import fits, print_blocks, print_table
from swapbench.report.sections.history import history_section

# 1: first published form.
HISTORY_VERSION: Final = 1

# Of the line that shows a figure from run to run.
_WIDEST, _NARROWEST = 72, 8


def print_history(past: Past, console: Console) -> None:
    """Each part with as much room for its lines as the console has."""
    for _, group in groupby(past.series, key=lambda series: series.setting):
        series = list(group)
        for room in (*range(_WIDEST, _NARROWEST, -2), _NARROWEST):
            section = history_section(series, room)
            if room == _NARROWEST or all(fits(b, console) for b in section.blocks if isinstance(b, Table)):
                print_blocks([section], console)
                break


def print_baselines(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A row for each baseline: what it keeps of which experiments."""
    cells = tuple(
        (
            Cell(row["name"]),
            Cell(", ".join(row["experiments"])),
            Cell(str(row["runs"]), figure=True),
            Cell(f"{datetime.fromisoformat(row['latest']):%Y-%m-%d %H:%M}" if row["latest"] else ""),
        )
        for row in rows
    )
    columns = (("experiment",), ("runs",), ("latest (UTC)",))
    print_table(Table("Baselines", "baseline", columns, (cells,)), console)


def history_to_json(past: Past) -> str:
    """One document, documented in docs/history.md."""
    left_out = [{"folder": str(run.folder), "why": run.why} for run in past.left_out]
    return as_document({"history_version": HISTORY_VERSION, **asdict(past), "left_out": left_out})


def left_out(past: Past) -> Iterator[str]:
    """A line for each reason why runs are left out, most frequent first."""
    reasons: dict[str, list[str]] = {}
    for run in past.left_out:
        why = run.why.removeprefix(f"{run.folder}/")
        reasons.setdefault(why, []).append(str(run.folder))
    for why, folders in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        others = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        yield f"left out: {folders[0]}{others}: {why}"

"""Models and where they are, and how far one is that is made or fetched; for people."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from swapbench.base.figures import size
from swapbench.report.narrow import readable


def print_models(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a row for each source of each model."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    for column in ("model", "source", "size"):
        table.add_column(column, no_wrap=True)
    table.add_column("where", overflow="fold")
    for row in rows:
        for number, source in enumerate(row["sources"]):
            weight_bytes = source["weight_bytes"]
            cells = (
                "" if number else row["name"],
                source["source"],
                size(weight_bytes) if weight_bytes else "?",
                source["path"] or source["hint"],
            )
            table.add_row(*map(Text, cells))
    console.print(readable(table, console))


@contextmanager
def progress_of(title: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many bytes of how many are done: a bar on a terminal, elsewhere a line for every tenth."""
    if not sys.stderr.isatty():
        yield _TenthLines(title)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    times = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _TenthLines:
    """Prints a line whenever another tenth is there."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._tenths = -1

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        tenths = 10 * done_bytes // total_bytes if total_bytes else 0
        if tenths != self._tenths:
            self._tenths = tenths
            print(f"{self._title}: {size(done_bytes)} of {size(total_bytes)}", file=sys.stderr, flush=True)

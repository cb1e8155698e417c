"""The machine, for people: what the doctor, the self-check and the probe have found."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from swapbench.machine.doctor import Check, Status
from swapbench.machine.environment import Limits, Machine
from swapbench.machine.selfcheck import Result, Row, Selfcheck
from swapbench.report.blocks import Cell, Table
from swapbench.report.console import readable
from swapbench.report.layout import columns
from swapbench.report.render import as_document
from swapbench.report.render.terminal import print_table

_MARKS: Final[dict[Status, tuple[str, str]]] = {
    "fine": ("\N{CHECK MARK}", "green"),
    "advice": ("!", "yellow"),
    "unknown": ("?", "dim"),
}

RESULT_MARKS: Final[dict[Result, tuple[str, str]]] = {
    "right": ("\N{CHECK MARK}", "green"),
    "wrong": ("\N{BALLOT X}", "red"),
    "not here": ("-", "dim"),
}


def print_checks(
    machine: Machine, checks: Sequence[Check], console: Console, busiest: Sequence[str] = ()
) -> None:
    """Every check in one line, with what to do below it; and which of the user's own processes are busy."""
    console.print(Text(f"\n{machine.describe()}\n", style="bold"))
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        mark, style = _MARKS[check.status]
        found = Text(check.finding)
        if check.advice:
            found.append(f"\n{check.advice}", style="yellow")
        grid.add_row(Text.assemble((mark, style), (f"  {check.name}", "dim")), found)
    console.print(readable(grid, console))
    if busiest:
        console.print(Text(f"\nbusiest of your own: {', '.join(busiest)}"))
    todo = sum(check.status == "advice" for check in checks)
    says = "fine to measure on" if not todo else f"{todo} to look at; the rest is fine or unknown"
    console.print(f"\n{says}")


def checks_to_json(machine: Machine, checks: Sequence[Check]) -> str:
    """One document: `machine`, and `checks` with name, status, finding and advice."""
    return as_document({"machine": machine.model_dump(), "checks": [check.model_dump() for check in checks]})


def in_a_line(row: Row) -> str:
    """A row, where nobody looks at tables."""
    return f"{row.result}: {row.claim}: {row.finding}"


def print_row(row: Row, console: Console) -> None:
    """What was found; of what is wrong, the claim too."""
    mark, style = RESULT_MARKS[row.result]
    console.print(Text.assemble((mark, style), (f" {row.claim}", "bold"), f"  {row.finding}"))
    if row.result == "wrong":
        console.print(Padding(Text(f"should be: {row.what}", style="red"), (0, 0, 0, 2)))


def print_end(found: Selfcheck, console: Console) -> None:
    """How many of each, and where."""
    counts = Counter(row.result for row in found.rows)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    where = f"{found.machine.describe()}, {found.file_system}"
    console.print(f"\n{where}; {versions}, on {found.device}", style="bold")
    console.print(", ".join(f"{counts[result]} {result}" for result in RESULT_MARKS))


def print_limits(limits: Limits, console: Console) -> None:
    """Every rate, and which of them loads are set against."""
    cold, warm = limits.best("disk", "disk_buffered"), limits.best("copy")
    rows = []
    for rate in limits.rates:
        bound = "cold loads" if rate is cold else "warm loads" if rate is warm else ""
        cells = (*(f"{value:.2f}" for value in (rate.low, rate.median, rate.high)), str(rate.n), bound)
        rows.append((Cell(rate.describe(), tone="strong" if bound else "plain"), *map(Cell, cells)))
    where = f"{limits.volume.mount} ({limits.volume.file_system})" if limits.volume.mount else "its volume"
    title = f"Limits of {limits.machine.describe()}, {where}: GB/s"
    headings = columns("least", "median", "most", "n", "limit of")
    print_table(Table(title, "", headings, (tuple(rows),)), console)
    if cold is None:
        says = "No limit of cold loads: this file system has no direct reads, or keeps the file in memory."
        console.print(says, style="yellow")

"""What a self-check has found, for people: row by row, as it is found."""

from collections import Counter
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from swapbench.machine.doctor.selfcheck import Result, Row, Selfcheck

MARKS: Final[dict[Result, tuple[str, str]]] = {
    "right": ("\N{CHECK MARK}", "green"),
    "wrong": ("\N{BALLOT X}", "red"),
    "not here": ("-", "dim"),
}


def in_a_line(row: Row) -> str:
    """A row, where nobody looks at tables."""
    return f"{row.result}: {row.claim}: {row.finding}"


def print_row(row: Row, console: Console) -> None:
    """What was found; of what is wrong, the claim too."""
    mark, style = MARKS[row.result]
    console.print(Text.assemble((mark, style), (f" {row.claim}", "bold"), f"  {row.finding}"))
    if row.result == "wrong":
        console.print(Padding(Text(f"should be: {row.what}", style="red"), (0, 0, 0, 2)))


def print_end(found: Selfcheck, console: Console) -> None:
    """How many of each, and where."""
    counts = Counter(row.result for row in found.rows)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    where = f"{found.machine.describe()}, {found.file_system}"
    console.print(f"\n{where}; {versions}, on {found.device}", style="bold")
    console.print(", ".join(f"{counts[result]} {result}" for result in MARKS))

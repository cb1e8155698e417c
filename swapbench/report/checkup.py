"""What the doctor found, for people and for programs."""

import json
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swapbench.machine.doctor import Check, Status
from swapbench.machine.environment import Machine
from swapbench.report.narrow import readable

_MARKS: Final[dict[Status, tuple[str, str]]] = {
    "fine": ("\N{CHECK MARK}", "green"),
    "advice": ("!", "yellow"),
    "unknown": ("?", "dim"),
}


def print_checks(
    machine: Machine, checks: Sequence[Check], console: Console, busiest: Sequence[str] = ()
) -> None:
    """Every check in one line, with what to do below it; and which of the user's own processes are busy."""
    console.print(Text(f"\n{machine.describe()}\n", style="bold"))
    grid = Table.grid(padding=(0, 2))
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
    says = "fine to measure on" if not todo else f"{todo} to look at; the rest is fine or not told"
    console.print(f"\n{says}")


def checks_to_json(machine: Machine, checks: Sequence[Check]) -> str:
    """One document: `machine`, and `checks` with name, status, finding and advice."""
    document = {"machine": machine.model_dump(), "checks": [check.model_dump() for check in checks]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

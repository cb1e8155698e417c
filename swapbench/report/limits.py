"""The machine's limits, for people."""

from rich.console import Console

from swapbench.machine.limits import Limits
from swapbench.report.shapes import Cell, Table
from swapbench.report.terminal import print_table


def print_limits(limits: Limits, console: Console) -> None:
    """Every rate, and which of them loads are set against."""
    cold, warm = limits.best("disk", "disk_buffered"), limits.best("copy")
    rows = []
    for rate in limits.rates:
        bound = "cold loads" if rate is cold else "warm loads" if rate is warm else ""
        figures = (f"{value:.2f}" for value in (rate.low, rate.median, rate.high))
        rows.append(
            (
                Cell(rate.describe(), tone="strong" if bound else "plain"),
                *(Cell(text) for text in figures),
                Cell(str(rate.n)),
                Cell(bound),
            )
        )
    where = f"{limits.volume.mount} ({limits.volume.file_system})" if limits.volume.mount else "its volume"
    table = Table(
        title=f"Limits of {limits.machine.describe()}, {where}: GB/s",
        label="",
        columns=(("least",), ("median",), ("most",), ("n",), ("limit of",)),
        groups=(tuple(rows),),
    )
    print_table(table, console)
    if cold is None:
        console.print(
            "No limit of cold loads: this file system has no direct reads, or keeps the file in memory.",
            style="yellow",
        )

"""A list of runs, for people and for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swapbench.base import figures
from swapbench.findings.runs import RunOutline
from swapbench.report.narrow import readable
from swapbench.report.terminal import make_console

_STATUS_STYLES: Final = {
    "complete": "green",
    "running": "cyan",
    "incomplete": "bold red",
    "interrupted": "yellow",
}
# Wider than any line.
_UNFOLDED: Final = 10_000
# Of several strategies each scenario has as many figures.
_MOST_SHOWN: Final = 8


def list_console() -> Console:
    """Standard output, on which lists are folded only where somebody watches: elsewhere they are searched."""
    return make_console(unwatched_width=_UNFOLDED)


def print_runs(runs: Sequence[RunOutline], console: Console) -> None:
    """Print a table of runs."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    # What is to be copied is never broken, whatever else has to be.
    table.add_column("run", no_wrap=True, min_width=max((len(run.run_id) for run in runs), default=0))
    for heading in ("experiment", "started (UTC)", "models", "status"):
        table.add_column(heading, overflow="fold")
    table.add_column("ok", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("median", overflow="fold")
    for run in runs:
        table.add_row(
            Text(run.run_id),
            Text(run.experiment),
            f"{run.started_at:%Y-%m-%d %H:%M}",
            ", ".join(run.sources),
            Text(run.status, style=_STATUS_STYLES[run.status]),
            str(run.swaps_ok),
            Text(str(run.swaps_failed), style="bold red" if run.swaps_failed else "dim"),
            Text("\n".join(_headlines(run))),
        )
    console.print(readable(table, console))


def _headlines(run: RunOutline) -> Iterator[str]:
    """The first of them, where there are dozens: a report has them all."""
    shown = list(run.headline_s.items())[:_MOST_SHOWN]
    yield from (f"{name} {figures.seconds(value)}" for name, value in shown)
    if more := len(run.headline_s) - len(shown):
        yield f"and {more} more"


def to_json(runs: Sequence[RunOutline]) -> str:
    """A list of objects, one for each run."""
    rows = [asdict(run) | {"started_at": run.started_at.isoformat()} for run in runs]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"

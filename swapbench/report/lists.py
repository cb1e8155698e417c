"""Lists of runs, of models and of targets; and how far a model is that is made or fetched."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swapbench.base import figures
from swapbench.report.console import readable

if TYPE_CHECKING:
    from swapbench.findings.runs import RunOutline
    from swapbench.wire.plan import Server

_STATUS_STYLES: Final = {
    "complete": "green",
    "running": "cyan",
    "incomplete": "bold red",
    "interrupted": "yellow",
}

# Of several strategies each scenario has as many figures.
_MOST_SHOWN: Final = 8

_STARTED: Final = {
    "": "has to run already",
    "in the worker": "runs in the worker",
    "{python}": "started by swapbench",
}

_TESTED: Final = {
    "real": ("tested against the real server", "green"),
    "stand-in": ("tested against a stand-in only", "yellow"),
    "untested": ("not run yet", "yellow"),
    "own": ("your own preset: not tested by swapbench", "dim"),
}


def print_runs(runs: "Sequence[RunOutline]", console: Console) -> None:
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


def _headlines(run: "RunOutline") -> Iterator[str]:
    """The first of them, where there are dozens: a report has them all."""
    shown = list(run.headline_s.items())[:_MOST_SHOWN]
    yield from (f"{name} {figures.seconds(value)}" for name, value in shown)
    if more := len(run.headline_s) - len(shown):
        yield f"and {more} more"


def runs_to_json(runs: "Sequence[RunOutline]") -> str:
    """A list of objects, one for each run."""
    rows = [asdict(run) | {"started_at": run.started_at.isoformat()} for run in runs]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


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
                figures.size(weight_bytes) if weight_bytes else "?",
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
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

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
            print(
                f"{self._title}: {figures.size(done_bytes)} of {figures.size(total_bytes)}",
                file=sys.stderr,
                flush=True,
            )


def print_targets(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each is, how it is swapped and seen, and what is known of it."""
    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    # Names are to be copied, so they are never folded.
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(Text(row["name"]), Text("\n").join((Text(row["title"]), _ways(row), _tested(row))))
    console.print(readable(table, console))


def print_requests(server: "Server", console: Console) -> None:
    """Print what a server would be started with and asked, with placeholders where a run fills them."""
    preset = server.preset
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _requests(server):
        table.add_row(Text(label), Text(text))
    console.print(Text(f"{preset.name}: {preset.title}", style="bold"))
    console.print(readable(table, console))


def _requests(server: "Server") -> Iterator[tuple[str, str]]:
    preset = server.preset
    started = preset.start is not None and not server.url
    yield "server", " ".join(preset.start.command) if preset.start and started else f"runs at {server.url}"
    yield "is up", f"{preset.ready.method} {preset.ready.path} answers {preset.ready.status}"
    yield "health", f"GET {preset.health.path}"
    yield "models are called", preset.models.name
    yield "asked", f"POST {preset.ask.path} {json.dumps(preset.ask.body)}"
    yield "text", f"{preset.ask.stream}: {', '.join(preset.ask.text)}"
    yield "swap", "" if preset.swap.call else "by asking for the other model"
    for call in preset.swap.call:
        body = "" if call.body is None else f" {json.dumps(call.body)}"
        yield "", f"{call.method} {call.path}{body}"
    for figure in preset.reported:
        yield f"reports {figure.what}", f"{figure.where}: {figure.means}"
    for variable, optional in preset.secrets().items():
        yield "key", f"{variable}{', if it is set' if optional else ''}"


def _ways(row: Mapping[str, Any]) -> Text:
    program = row["start"] if row["start"] in _STARTED else row["start"].partition(" ")[0]
    started = _STARTED.get(program, f"started by swapbench, as {program}")
    return Text(f"{started}; swap: {row['swap']}; reports: {row['reports'] or 'nothing'}", style="dim")


def _tested(row: Mapping[str, Any]) -> Text:
    said, style = _TESTED[row["tested"]]
    where = f": {row['tested_on']}" if row["tested"] == "real" and row["tested_on"] else ""
    return Text(said + where, style=style)

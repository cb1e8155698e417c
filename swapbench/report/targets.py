"""What can be measured, for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swapbench.report.narrow import readable
from swapbench.wire.events import Server

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


def print_targets(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each is, how it is swapped and seen, and what is known of it."""
    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    # Names are to be copied, so they are never folded.
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(Text(row["name"]), Text("\n").join((Text(row["title"]), _ways(row), _tested(row))))
    console.print(readable(table, console))


def print_requests(server: Server, console: Console) -> None:
    """Print what a server would be started with and asked, with placeholders where a run fills them."""
    preset = server.preset
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _requests(server):
        table.add_row(Text(label), Text(text))
    console.print(Text(f"{preset.name}: {preset.title}", style="bold"))
    console.print(readable(table, console))


def _requests(server: Server) -> Iterator[tuple[str, str]]:
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

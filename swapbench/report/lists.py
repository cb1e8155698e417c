"""Lists of runs, models, targets and experiments; one experiment; how far a download is."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from swapbench.base.figures import memory, seconds, size
from swapbench.report import blocks, layout
from swapbench.report.console import list_table, named_rows, readable
from swapbench.report.render import as_document
from swapbench.report.render.terminal import print_table

if TYPE_CHECKING:
    from swapbench.findings.runs import RunOutline
    from swapbench.models.locate import Located
    from swapbench.run.capacity import Available, Needs
    from swapbench.spec.experiment import Experiment
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

# What the other tables of `show` have.
_SHOWN_APART: Final = {"scenario", "models", "title", "description"}


def print_runs(runs: "Sequence[RunOutline]", console: Console) -> None:
    """Print a table of runs."""
    table = list_table("run", "experiment", "started (UTC)", "models", "status")
    # What is to be copied is never broken, whatever else has to be.
    table.columns[0].min_width = max((len(run.run_id) for run in runs), default=0)
    table.add_column("ok", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("median", overflow="fold")
    for run in runs:
        headlines = [f"{name} {seconds(value)}" for name, value in run.headline_s.items()]
        if (more := len(headlines) - _MOST_SHOWN) > 0:
            headlines[_MOST_SHOWN:] = [f"and {more} more"]
        table.add_row(
            Text(run.run_id),
            Text(run.experiment),
            f"{run.started_at:%Y-%m-%d %H:%M}",
            ", ".join(run.sources),
            Text(run.status, style=_STATUS_STYLES[run.status]),
            str(run.swaps_ok),
            Text(str(run.swaps_failed), style="bold red" if run.swaps_failed else "dim"),
            Text("\n".join(headlines)),
        )
    console.print(readable(table, console))


def runs_to_json(runs: "Sequence[RunOutline]") -> str:
    """A list of objects, one for each run."""
    return as_document([asdict(run) for run in runs])


def print_models(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a row for each source of each model."""
    table = list_table("model", "source", "size", "where", names=3)
    for row in rows:
        for number, source in enumerate(row["sources"]):
            weight = size(source["weight_bytes"]) if source["weight_bytes"] else "?"
            where = source["path"] or source["hint"]
            table.add_row(*map(Text, ("" if number else row["name"], source["source"], weight, where)))
    console.print(readable(table, console))


@contextmanager
def progress_of(title: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many bytes of how many are done: a bar on a terminal, elsewhere a line for every tenth."""
    if not sys.stderr.isatty():
        printed = -1

        def tenths(done_bytes: int, total_bytes: int) -> None:
            nonlocal printed
            reached = 10 * done_bytes // total_bytes if total_bytes else 0
            if reached != printed:
                printed = reached
                print(f"{title}: {size(done_bytes)} of {size(total_bytes)}", file=sys.stderr, flush=True)

        yield tenths
        return
    from rich import progress as bars

    columns = (bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), bars.DownloadColumn())
    times = (bars.TransferSpeedColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, *times, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_targets(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each is, how it is swapped and seen, and what is known of it."""
    table = named_rows("bold", 1)
    for row in rows:
        program = row["start"] if row["start"] in _STARTED else row["start"].partition(" ")[0]
        started = _STARTED.get(program, f"started by swapbench, as {program}")
        ways = f"{started}; swap: {row['swap']}; reports: {row['reports'] or 'nothing'}"
        tested, style = _TESTED[row["tested"]]
        where = f": {row['tested_on']}" if row["tested"] == "real" and row["tested_on"] else ""
        said = (Text(row["title"]), Text(ways, style="dim"), Text(tested + where, style=style))
        table.add_row(Text(row["name"]), Text("\n").join(said))
    console.print(readable(table, console))


def print_requests(server: "Server", console: Console) -> None:
    """Print what a server would be started with and asked, with placeholders where a run fills them."""
    table = named_rows("dim", 0)
    for label, text in _requests(server):
        table.add_row(Text(label), Text(text))
    console.print(Text(f"{server.preset.name}: {server.preset.title}", style="bold"))
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


def print_experiments(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each is called, and of what it is made."""
    table = named_rows("", 1)
    entries = []
    for row in rows:
        made_of = f"models: {', '.join(row['models'])}\nscenarios: {', '.join(row['scenarios'])}"
        said = (Text(row["title"]), Text(made_of, style="dim"), Text(row["file"], style="dim"))
        name = Text(row["name"], style="bold")
        entries.append((name, *said))
        table.add_row(name, Text("\n").join(said))
    room = console.width - max((len(row["name"]) for row in rows), default=0) - 2
    if all(len(row["file"]) <= room for row in rows):
        console.print(readable(table, console))
        return
    # Files are to be copied as well: a terminal breaks its lines itself, and knows that they are one.
    for name, *texts, file in entries:
        console.print(name)
        console.print(Padding(Text("\n").join(texts), (0, 0, 0, 2)))
        console.print(Text("  ").append(file), soft_wrap=True)


def print_experiment(
    path: Path,
    chosen: "Experiment",
    located: "Sequence[Located]",
    taken: "Needs",
    there: "Available",
    console: Console,
) -> None:
    """Print what a run would do, where its models are, and what it takes of what there is."""
    console.print(Text(chosen.title or path.stem, style="bold"))
    console.print(Text(str(path), style="dim"), soft_wrap=True)
    if chosen.description:
        console.print(Text(chosen.description.strip()))
    scenarios = list_table("scenario", "from", "to")
    again = chosen.reloads({model.name: str(model.path or model.reference) for model in located})
    for scenario in chosen.scenario:
        to = scenario.to_model + (" (the same: a reload)" if scenario.name in again else "")
        scenarios.add_row(Text(scenario.name), Text(scenario.from_model), Text(to))
    console.print(readable(scenarios, console))
    models = list_table("model", "source", "size", "checkpoint")
    for model in located:
        where = Text(model.hint or str(model.path), style="dim")
        told = where if where.plain == model.reference else Text("\n").join((Text(model.reference), where))
        weight = size(model.weight_bytes) if model.weight_bytes else "unknown"
        models.add_row(Text(model.name), Text(model.source), Text(weight), told)
    console.print(readable(models, console))
    for line in _needs(taken, there):
        console.print(Text(line))


def print_settings(chosen: "Experiment", written: "Experiment | None", console: Console) -> None:
    """Print every setting, and what the file says where an override changes that.

    Args:
        written: the file without overrides; None where it is none without them.
    """
    before = {} if written is None else _settings(written)
    table = list_table("setting", "in effect", "in the file")
    for key, value in _settings(chosen).items():
        changed = before.get(key, "") if before.get(key) != value else ""
        table.add_row(Text(key), Text(value), Text(changed))
    console.print(readable(table, console))


def experiment_to_json(
    path: Path, chosen: "Experiment", located: "Sequence[Located]", taken: "Needs", there: "Available"
) -> str:
    """One object: the experiment, where its models are, what it needs, and what the machine has."""
    models = [
        {
            "name": model.name,
            "reference": model.reference,
            "source": str(model.source),
            "weight_bytes": model.weight_bytes or None,
            "path": str(model.path) if model.path else None,
            "hint": model.hint,
        }
        for model in located
    ]
    document = {
        "name": path.stem,
        "file": str(path),
        "experiment": chosen.model_dump(mode="json", by_alias=True),
        "models": models,
        "needs": asdict(taken) | {"memory_bytes": taken.memory_bytes},
        "machine": asdict(there),
    }
    return as_document(document)


def _needs(taken: "Needs", there: "Available") -> Iterator[str]:
    model = f"{taken.largest_model} {memory(taken.largest_model_bytes)}" if taken.largest_model_bytes else ""
    caches = f"KV caches up to {memory(taken.kv_bytes)}" if taken.kv_bytes else ""
    parts = ", ".join(filter(None, (model, caches, _unknown(taken.unweighed))))
    limited = f", limited by {there.memory_limited_by}" if there.memory_limited_by else ""
    yield (
        f"memory: {'at least ' if taken.unweighed else ''}{memory(taken.memory_bytes)}"
        f"{f' ({parts})' if parts else ''}; {memory(there.memory_available_bytes)} available{limited}"
        + _too_little(taken.memory_bytes, there.memory_available_bytes)
    )
    if taken.page_cache_bytes:
        yield (
            "page cache: a warm swap needs room for the new model's file beside the old model, then beside "
            f"its own copy: {_least(memory(taken.page_cache_bytes), taken.unweighed)}; "
            "with less, swaps are invalid"
        )
    yield (
        f"disk for checkpoints: {_least(size(taken.missing_bytes), taken.missing_unweighed)} to get; "
        f"{size(there.checkpoints_free_bytes)} free"
        + _too_little(taken.missing_bytes, there.checkpoints_free_bytes)
    )
    if taken.eviction_bytes:
        yield (
            f"disk for results: evicted KV caches up to {size(taken.eviction_bytes)}; "
            f"{size(there.results_free_bytes)} free"
            + _too_little(taken.eviction_bytes, there.results_free_bytes)
        )


def _least(known: str, unweighed: Sequence[str]) -> str:
    return f"at least {known} ({_unknown(unweighed)})" if unweighed else known


def _unknown(unweighed: Sequence[str]) -> str:
    return ", ".join(f"{name} unknown" for name in unweighed)


def _too_little(needed: int, there: int) -> str:
    return "" if needed <= there else ": too little"


def _settings(chosen: "Experiment") -> dict[str, str]:
    """Every value of the file by its dotted key, but for what stands in the other tables."""
    document = chosen.model_dump(mode="json", by_alias=True, exclude=_SHOWN_APART)
    document["fault"] = ", ".join(f"{f.kind} {f.when} {f.scenario}" for f in chosen.fault) or "none"
    document["strategy"] = "; ".join(f"{name}: {how.describe()}" for name, how in chosen.strategy.items())
    document["criterion"] = ", ".join(criterion.kind for criterion in chosen.criterion) or "none"
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": v for inner, v in value.items()}
        elif value is not None:
            flat[key] = value
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in flat.items()}


def print_baselines(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A row for each baseline: what it keeps of which experiments."""
    cells = tuple(
        layout.row(
            *(one["name"], ", ".join(one["experiments"]), layout.figure(str(one["runs"]))),
            f"{datetime.fromisoformat(one['latest']):%Y-%m-%d %H:%M}" if one["latest"] else "",
        )
        for one in rows
    )
    headings = layout.columns("experiment", "runs", "latest (UTC)")
    print_table(blocks.Table("Baselines", "baseline", headings, (cells,)), console)

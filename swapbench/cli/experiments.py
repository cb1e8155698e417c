"""`swapbench list`, `show` and `schema`: what can be run, and what running it would take."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swapbench.cli import completion
from swapbench.errors import Exit, ExperimentError

if TYPE_CHECKING:
    from rich.console import Console

    from swapbench.experiment import Experiment, Source
    from swapbench.models.locate import Located
    from swapbench.needs import Needs

_PIPE_WIDTH = 160

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(as_json: Json = False) -> None:
    """List the experiments that can be run by name.

    \b
    Examples:
      swapbench list
      swapbench list --json

    Exit codes: 0 fine, 2 an experiment file is broken.
    """
    from swapbench.experiment import discover, load

    rows: list[dict[str, Any]] = []
    broken: list[ExperimentError] = []
    for name, path in discover().items():
        try:
            experiment = load(path)
        except ExperimentError as error:
            broken.append(error)
            continue
        rows.append(
            {
                "name": name,
                "title": experiment.title,
                "models": list(experiment.model_names()),
                "scenarios": [scenario.name for scenario in experiment.scenario],
                "file": str(path),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_list(rows)
    for failure in broken:
        typer.echo(f"swapbench: {failure}", err=True)
    if broken:
        raise typer.Exit(Exit.USAGE)


def show(
    experiment: Annotated[
        str,
        typer.Argument(
            help="An experiment's name, or the path of its file.", autocompletion=completion.experiments
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="hub, synthetic or mini.",
            autocompletion=completion.sources,
        ),
    ] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do, where its models are, and what it takes of this machine.

    \b
    Examples:
      swapbench show exp012
      swapbench show exp012 --models synthetic --set rounds=20
      swapbench show ./mine.toml --json

    Exit codes: 0 fine, 2 usage, or an experiment that says what it must not.
    """
    from swapbench.experiment import find, load
    from swapbench.needs import ModelSize, needs

    path = find(experiment)
    overrides = [*([f"source={models}"] if models else []), *(settings or [])]
    chosen = load(path, overrides)
    located = _locate(chosen)
    scripted = chosen.target == "scripted"
    sizes = {
        model.name: ModelSize(model.weight_bytes, scripted or model.path is not None) for model in located
    }
    taken = needs(chosen, sizes)
    if as_json:
        typer.echo(json.dumps(_as_json(path, chosen, located, taken), indent=2, ensure_ascii=False))
    else:
        _print_show(path, chosen, located, taken)
        _print_settings(chosen, path)


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors.

    \b
    Examples:
      swapbench schema > experiment.json

    Exit codes: 0 fine.
    """
    from swapbench.experiment import schema as experiment_schema

    typer.echo(json.dumps(experiment_schema(), indent=2))


def _locate(chosen: "Experiment") -> "list[Located]":
    from swapbench.models.locate import Located, locate
    from swapbench.targets import server_of

    server = server_of(chosen.target)
    if server is not None and not server.preset.reads_paths:
        names = chosen.model_names()
        return [Located(n, chosen.models[n], chosen.source, None, 0, "the server's own") for n in names]
    if chosen.script is None:
        return [locate(name, chosen.models[name], chosen.source) for name in chosen.model_names()]
    sizes = chosen.script.model_bytes
    return [
        Located(name, chosen.models[name], chosen.source, None, sizes.get(name, 0), "played by the script")
        for name in chosen.model_names()
    ]


def _print_list(rows: list[dict[str, Any]]) -> None:
    table = _table("experiment", "title", "models", "scenarios", "file")
    for row in rows:
        lists = ("\n".join(row["models"]), "\n".join(row["scenarios"]))
        table.add_row(row["name"], row["title"], *lists, row["file"])
    _console().print(table)


def _print_show(path: Path, chosen: "Experiment", located: "list[Located]", taken: "Needs") -> None:
    console = _console()
    console.print(chosen.title or path.stem, style="bold")
    console.print(str(path), style="dim", soft_wrap=True)
    if chosen.description:
        console.print(chosen.description.strip())
    _print_scenarios(console, chosen)
    _print_models(console, located)
    _print_needs(console, taken, chosen.source)


def _print_scenarios(console: "Console", chosen: "Experiment") -> None:
    table = _table("scenario", "from", "to")
    for scenario in chosen.scenario:
        table.add_row(scenario.name, scenario.from_model, scenario.to_model)
    console.print(table)


def _print_models(console: "Console", located: "list[Located]") -> None:
    from swapbench.analysis.figures import size

    table = _table("model", "source", "size", "reference", "where")
    for model in located:
        where = str(model.path or model.hint)
        table.add_row(model.name, str(model.source), size(model.weight_bytes), model.reference, where)
    console.print(table)


def _print_needs(console: "Console", taken: "Needs", source: "Source") -> None:
    from swapbench.analysis.figures import memory, size

    machine = _machine(source)
    lines = [
        f"memory: {memory(taken.memory_bytes)} ({taken.largest_model} {memory(taken.largest_model_bytes)}"
        + (f", KV caches up to {memory(taken.kv_bytes)}" if taken.kv_bytes else "")
        + f"); {memory(machine['memory_available_bytes'])} available"
        + _too_little(taken.memory_bytes, machine["memory_available_bytes"])
    ]
    if taken.page_cache_bytes:
        lines.append(
            f"page cache: to be warm, a new model's file wants room beside the old model and then beside its "
            f"own copy, {memory(taken.page_cache_bytes)} in all; with less, swaps are marked invalid"
        )
    lines.append(
        f"disk for checkpoints: {size(taken.missing_bytes)} to come; "
        f"{size(machine['checkpoints_free_bytes'])} free"
        + _too_little(taken.missing_bytes, machine["checkpoints_free_bytes"])
    )
    if taken.eviction_bytes:
        lines.append(
            f"disk for results: evicted KV caches up to {size(taken.eviction_bytes)}; "
            f"{size(machine['results_free_bytes'])} free"
            + _too_little(taken.eviction_bytes, machine["results_free_bytes"])
        )
    for line in lines:
        console.print(line)


def _print_settings(chosen: "Experiment", path: Path) -> None:
    from swapbench.experiment import load

    try:
        before = _settings(load(path))
    except ExperimentError:  # a file that only its overrides make whole
        before = {}
    table = _table("setting", "in effect", "in the file")
    for key, value in _settings(chosen).items():
        table.add_row(key, value, before.get(key, "") if before.get(key) != value else "")
    _console().print(table)


def _settings(chosen: "Experiment") -> dict[str, str]:
    """Every value of the file by its dotted key, but for what stands in the other tables."""
    document = chosen.model_dump(
        mode="json", by_alias=True, exclude={"scenario", "models", "title", "description"}
    )
    document["fault"] = ", ".join(f"{f.kind} {f.when} {f.scenario}" for f in chosen.fault) or "none"
    document["strategy"] = "; ".join(f"{name}: {how.describe()}" for name, how in chosen.strategy.items())
    document["criterion"] = ", ".join(criterion.kind for criterion in chosen.criterion) or "none"
    flat: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": _spelled(v) for inner, v in value.items()}
        elif value is not None:
            flat[key] = _spelled(value)
    return flat


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_json(path: Path, chosen: "Experiment", located: "list[Located]", taken: "Needs") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": path.stem,
        "file": str(path),
        "experiment": chosen.model_dump(mode="json", by_alias=True),
        "models": [
            {
                "name": model.name,
                "reference": model.reference,
                "source": str(model.source),
                "weight_bytes": model.weight_bytes,
                "path": str(model.path) if model.path else None,
                "hint": model.hint,
            }
            for model in located
        ],
        "needs": asdict(taken) | {"memory_bytes": taken.memory_bytes},
        "machine": _machine(chosen.source),
    }


def _machine(source: "Source") -> dict[str, int]:
    """Memory available, and disk free where checkpoints of that source and results are kept, in bytes."""
    import psutil
    from huggingface_hub.constants import HF_HUB_CACHE

    from swapbench.experiment import Source
    from swapbench.models.store import cache_root

    folder = Path(HF_HUB_CACHE) if source is Source.HUB else cache_root()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {
        "memory_available_bytes": psutil.virtual_memory().available,
        "checkpoints_free_bytes": psutil.disk_usage(str(there)).free,
        "results_free_bytes": psutil.disk_usage(str(Path.cwd())).free,
    }


def _too_little(needed: int, there: int) -> str:
    return "" if needed <= there else ": too little"


def _console() -> "Console":
    from rich.console import Console

    # No markup: titles and paths are the user's text, square brackets and all. In a pipe nothing need fold.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(_PIPE_WIDTH, console.width)
    return console


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

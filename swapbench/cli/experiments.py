"""`swapbench list`, `show`, `schema` and `targets`: what can be run, and what running it would take."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swapbench.base.errors import Exit, ExperimentError, UsageError
from swapbench.cli import completion
from swapbench.cli.options import Json, Settings
from swapbench.cli.output import complain
from swapbench.spec.overrides import sets, short_for

if TYPE_CHECKING:
    from swapbench.models.locate import Located
    from swapbench.run.targets import BuiltIn
    from swapbench.spec.experiment import Experiment
    from swapbench.spec.preset import Preset


def list_(as_json: Json = False) -> None:
    """List the experiments that can be run by name.

    \b
    Examples:
      swapbench list
      swapbench list --json

    Exit codes: 0 fine, 2 an experiment file is broken.
    """
    from swapbench.report.console import list_console
    from swapbench.report.experiments import print_experiments
    from swapbench.spec.experiment import discover, load

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
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        print_experiments(rows, list_console())
    for failure in broken:
        complain(failure)
    if broken:
        raise typer.Exit(Exit.USAGE)


def show(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="An experiment's name, or the path of its file.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="System to measure; without an experiment, show its preset, and whether it can run.",
            autocompletion=completion.targets,
        ),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Where checkpoints come from: hub, synthetic, mini or local (paths).",
            autocompletion=completion.sources,
        ),
    ] = "",
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do, and what it needs.

    It also shows where its models are.

    \b
    Examples:
      swapbench show exp012
      swapbench show exp012 --models synthetic --set rounds=20
      swapbench show ./mine.toml --json
      swapbench show --target mlx_lm

    Exit codes: 0 fine, 2 usage, an invalid experiment, or a target that can't be run.
    """
    if experiment is None:
        _show_target(target, as_json=as_json)
        return
    from swapbench.report.console import make_console
    from swapbench.report.experiments import print_experiment, print_settings, to_json
    from swapbench.run.capacity import ModelSize, available, needs
    from swapbench.spec.experiment import find, load

    path = find(experiment)
    overrides = [
        *short_for("source", "--models", models or None),
        *short_for("target", "--target", target),
        *sets(settings or []),
    ]
    chosen = load(path, overrides)
    located = _locate(chosen)
    elsewhere = chosen.target == "scripted" or _served_by_others(chosen)
    sizes = {model.name: ModelSize(model.weight_bytes, elsewhere or not model.to_come) for model in located}
    taken, there = needs(chosen, sizes), available(chosen.source)
    if as_json:
        print(to_json(path, chosen, located, taken, there), end="")
        return
    console = make_console()
    print_experiment(path, chosen, located, taken, there, console)
    print_settings(chosen, _as_written(path), console)


def _show_target(target: str | None, *, as_json: bool) -> None:
    """What swapbench would ask of a server, once everything that a run needs of it is there."""
    from swapbench.report.console import list_console
    from swapbench.report.lists import print_requests
    from swapbench.run.targets import refuse_missing_keys, refuse_missing_program, refuse_silent, server_of

    if target is None:
        raise UsageError("nothing to show; name an experiment, as in `swapbench show exp012`, or a --target")
    server = server_of(target)
    if server is None:
        raise UsageError(f'target "{target}" is no server; `swapbench targets` says what it is')
    if as_json:
        print(server.preset.model_dump_json(indent=2, by_alias=True))
    else:
        print_requests(server, list_console())
    refuse_missing_keys(server, f'target "{target}"')
    refuse_missing_program(server)
    refuse_silent(server)


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors.

    \b
    Examples:
      swapbench schema > experiment.json

    Exit codes: 0 fine.
    """
    from swapbench.spec.experiment import schema as experiment_schema

    print(json.dumps(experiment_schema(), indent=2))


def _as_written(path: Path) -> "Experiment | None":
    """The file without overrides; None where only they make it whole."""
    from swapbench.spec.experiment import load

    try:
        return load(path)
    except ExperimentError:
        return None


def _served_by_others(chosen: "Experiment") -> bool:
    """Whether checkpoints are a server's own."""
    from swapbench.run.targets import server_of

    server = server_of(chosen.target)
    return server is not None and not server.preset.reads_paths


def _locate(chosen: "Experiment") -> "list[Located]":
    from swapbench.models.locate import Located, locate, looked_at

    if _served_by_others(chosen):
        names = chosen.model_names()
        return [Located(n, chosen.models[n], chosen.source, None, 0, "the server's own") for n in names]
    if chosen.script is None:
        return [looked_at(locate(name, chosen.models[name], chosen.source)) for name in chosen.model_names()]
    sizes = chosen.script.model_bytes
    return [
        Located(name, chosen.models[name], chosen.source, None, sizes.get(name, 0), "played by the script")
        for name in chosen.model_names()
    ]


def targets(as_json: Json = False) -> None:
    """List what can be measured: the worker's engine, and servers.

    To measure your own server, write one TOML file and give its path. docs/targets.md has every field.

    \b
    Examples:
      swapbench targets
      swapbench targets --json
      swapbench run exp012 --target mlx_lm
      swapbench run exp012 --target http://127.0.0.1:8080
      swapbench run exp012 --target ./my-server.toml

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.report.console import list_console
    from swapbench.report.lists import print_targets
    from swapbench.run.targets import BUILT_IN, orchestrators
    from swapbench.spec.preset import read_preset, shipped

    rows = [_built_in(name, target) for name, target in BUILT_IN.items()]
    rows += [_row(name, read_preset(path)) for name, path in shipped().items()]
    rows += [_orchestrator(name, where) for name, where in orchestrators().items()]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_targets(rows, list_console())


def _built_in(name: str, target: "BuiltIn") -> dict[str, Any]:
    return {
        "name": name,
        "title": target.title,
        "start": "in the worker",
        "swap": target.swap,
        "reports": target.reports,
        "tested": "real",
        "tested_on": target.tested_on,
    }


def _row(name: str, preset: "Preset") -> dict[str, Any]:
    calls = [f"{call.method} {call.path}" for call in preset.swap.call]
    return {
        "name": name,
        "title": preset.title,
        "start": " ".join(preset.start.command) if preset.start is not None else "",
        "url": preset.url,
        "swap": ", ".join(calls) if calls else "asking for the other model",
        "reports": ", ".join(figure.where for figure in preset.reported),
        "tested": preset.tested,
        "tested_on": preset.tested_on,
        "documentation": preset.documentation,
    }


def _orchestrator(name: str, where: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": f"an orchestrator of your own: {where}",
        "start": "in the worker",
        "swap": "its own swap",
        "reports": "the phases that it tells",
        "tested": "own",
        "tested_on": "",
    }

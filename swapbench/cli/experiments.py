"""`swapbench list`, `show`, `schema`, `targets` and `init`: what can be run, and files to start from."""

import json
import keyword
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from swapbench.base.errors import Exit, ExperimentError, UsageError
from swapbench.cli import completion, options
from swapbench.cli.options import Command, argument, group, interpreter_of, option, overrides_of
from swapbench.cli.output import complain, print_rows, say

_INSIDE: Final = "in the worker"

# What an interpreter has by a name: a package that a new one would hide, or replace.
_ASK: Final = """
from importlib.metadata import distributions
from importlib.util import find_spec
installed = {(one.name or "").lower().replace("_", "-") for one in distributions()}
print("taken" if sys.argv[1] in installed or find_spec(sys.argv[1].replace("-", "_")) else "free")
"""


def list_(as_json: options.Json = False) -> None:
    """List the experiments that can be run by name.

    \b
    Examples:
      swapbench list
      swapbench list --json

    Exit codes: 0 fine, 2 an experiment file is broken.
    """
    from swapbench.report.lists import print_experiments
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
    print_rows(rows, print_experiments, as_json=as_json)
    for failure in broken:
        complain(failure)
    if broken:
        raise typer.Exit(Exit.USAGE)


def show(
    experiment: Annotated[
        str | None,
        argument("EXPERIMENT", "An experiment's name, or the path of its file.", completion.experiments),
    ] = None,
    target: Annotated[
        str | None,
        option(
            "TARGET",
            "System to measure; without an experiment, show its preset, and whether it can run.",
            completion.targets,
        ),
    ] = None,
    models: Annotated[
        str,
        option(
            "SOURCE",
            "Where checkpoints come from: hub, synthetic, mini or local (paths).",
            completion.sources,
        ),
    ] = "",
    settings: options.Settings = None,
    as_json: options.Json = False,
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
    from swapbench.models.locate import Located, locate, looked_at
    from swapbench.report.console import make_console
    from swapbench.report.lists import experiment_to_json, print_experiment, print_settings
    from swapbench.run.capacity import ModelSize, available, needs
    from swapbench.run.targets import server_of
    from swapbench.spec.experiment import find, load

    if experiment is None:
        _show_target(target, as_json=as_json)
        return
    path = find(experiment)
    chosen = load(path, overrides_of(settings, {"--models": models or None, "--target": target}))
    server, script = server_of(chosen.target), chosen.script
    by_server = server is not None and not server.preset.reads_paths
    located = []
    for name in chosen.model_names():
        reference = chosen.models[name]
        if by_server:
            located.append(Located(name, reference, chosen.source, None, 0, "the server's own"))
        elif script is not None:
            size = script.model_bytes.get(name, 0)
            located.append(Located(name, reference, chosen.source, None, size, "played by the script"))
        else:
            located.append(looked_at(locate(name, reference, chosen.source)))
    elsewhere = by_server or chosen.target == "scripted"
    sizes = {model.name: ModelSize(model.weight_bytes, elsewhere or not model.to_come) for model in located}
    taken, there = needs(chosen, sizes), available(chosen.source)
    if as_json:
        print(experiment_to_json(path, chosen, located, taken, there), end="")
        return
    written = None
    with suppress(ExperimentError):  # of a file that only overrides make whole
        written = load(path)
    console = make_console()
    print_experiment(path, chosen, located, taken, there, console)
    print_settings(chosen, written, console)


def _show_target(target: str | None, *, as_json: bool) -> None:
    """What swapbench would ask of a server, and all that a run needs of it and isn't there."""
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
    missing: list[UsageError] = []
    keys = partial(refuse_missing_keys, origin=f'target "{target}"')
    for refuse in (keys, refuse_missing_program, refuse_silent):
        try:
            refuse(server)
        except UsageError as error:
            missing.append(error)
    for failure in missing:
        complain(failure)
    if missing:
        raise typer.Exit(Exit.USAGE)


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors.

    \b
    Examples:
      swapbench schema > experiment.json

    Exit codes: 0 fine.
    """
    from swapbench.spec.experiment import schema as experiment_schema

    print(json.dumps(experiment_schema(), indent=2))


def targets(as_json: options.Json = False) -> None:
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
    from swapbench.report.lists import print_targets
    from swapbench.run.targets import BUILT_IN, orchestrators
    from swapbench.spec.preset import read_preset, shipped

    rows: list[dict[str, Any]] = []
    for name, known in BUILT_IN.items():
        row = {"name": name, "title": known.title, "start": _INSIDE, "swap": known.swap}
        rows.append(row | {"reports": known.reports, "tested": "real", "tested_on": known.tested_on})
    for name, path in shipped().items():
        preset = read_preset(path)
        calls = [f"{call.method} {call.path}" for call in preset.swap.call]
        rows.append(
            {
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
        )
    for name, where in orchestrators().items():
        row = {"name": name, "title": f"an orchestrator of your own: {where}", "start": _INSIDE}
        row |= {"swap": "its own swap", "reports": "the phases that it tells"}
        rows.append(row | {"tested": "own", "tested_on": ""})
    print_rows(rows, print_targets, as_json=as_json)


init = group(
    "init",
    "Write an experiment file or a target package to start from.",
    "swapbench init experiment mine",
    "swapbench init target my-server",
    codes="0 fine, 2 usage",
)
Name = Annotated[str, argument("NAME", "Its name: lower-case letters, digits and dashes.")]


@init.command("target", cls=Command)
def init_target(
    name: Name,
    folder: Annotated[Path, option("DIR", "Where to create its folder.")] = Path(),
    python: Annotated[Path | None, option("PYTHON", "Interpreter to install it for.")] = None,
) -> None:
    """Write a package that plugs your orchestrator in as a target.

    \b
    Examples:
      swapbench init target my-server
      pip install -e ./my-server && swapbench run quick --target my-server
      swapbench init target my-server --python ~/server/.venv/bin/python

    Exit codes: 0 fine, 2 usage, or it exists already.
    """
    from swapbench.base.files import write_target
    from swapbench.base.process import said_by
    from swapbench.run.targets import BUILT_IN
    from swapbench.spec.preset import shipped

    place = _new_place(folder, name, name, "a target is named", "my-server")
    # The name becomes a module's and a target's: neither may hide one that is there, or be none.
    if name in (*BUILT_IN, *shipped()):
        raise UsageError(f'"{name}": is a target of swapbench; choose another name')
    if name[0].isdigit():
        raise UsageError(f"\"{name}\": a Python module's name can't begin with a digit; choose another name")
    if keyword.iskeyword(name):
        raise UsageError(f'"{name}": can\'t be the name of a Python module of yours; choose another name')
    interpreter = interpreter_of(python)
    said, last = said_by(interpreter, _ASK, name)
    if not said:
        raise UsageError(f"{interpreter}: does not say what it has installed: {last}")
    if said != "free":
        raise UsageError(f'"{name}": {interpreter} has a package of that name; choose another name')
    with _making(folder):
        written = write_target(place, name)
    for path in written:
        print(str(path))
    there = "" if python is None else f" --python {interpreter}"
    pip = "pip" if python is None else f"{interpreter} -m pip"
    say(f"next: {pip} install -e {place} && swapbench run quick --target {name}{there}")


@init.command("experiment", cls=Command)
def init_experiment(
    name: Name, folder: Annotated[Path, option("DIR", "Where to create the file.")] = Path()
) -> None:
    """Write a commented experiment file that runs as it is.

    Every key is in it.

    \b
    Examples:
      swapbench init experiment mine
      swapbench show ./mine.toml && swapbench run ./mine.toml

    Exit codes: 0 fine, 2 usage, or it exists already.
    """
    from swapbench.base.files import write_experiment

    place = _new_place(folder, name, f"{name}.toml", "an experiment is named", "my-experiment")
    with _making(folder):
        written = write_experiment(place, name)
    print(str(written))
    said = place if folder.parts else f"./{place}"
    say(f"next: swapbench show {said} && swapbench run {said}")


def _new_place(folder: Path, name: str, file: str, what: str, such_as: str) -> Path:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UsageError(f'"{name}": {what} by lower-case letters, digits and dashes: {such_as}')
    place = folder / file
    if place.exists():
        raise UsageError(f"{place}: is there already; choose another name, or another --folder")
    return place


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """A folder that isn't there is made, but not those that it would stand in: they are misspelt."""
    try:
        folder.mkdir(exist_ok=True)
        yield
    except FileNotFoundError:
        raise UsageError(
            f"--folder {folder}: {folder.parent} is no folder; choose one that is there"
        ) from None
    except OSError as error:
        raise UsageError(f"--folder {folder}: can't be written: {error.strerror}") from None

"""`swapbench init`: files to start from."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import UsageError
from swapbench.cli.options import interpreter_of
from swapbench.cli.output import say
from swapbench.cli.usage import Command, CommandGroup

_ASK = """
from importlib.metadata import distributions
from importlib.util import find_spec
installed = {(one.name or "").lower().replace("_", "-") for one in distributions()}
print("taken" if sys.argv[1] in installed or find_spec(sys.argv[1].replace("-", "_")) else "free")
"""

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write an experiment file or a target package to start from.\n\n"
    "\b\nExamples:\n  swapbench init experiment mine\n  swapbench init target my-server\n\n"
    "Exit codes: 0 fine, 2 usage.",
)


@app.command(cls=Command)
def target(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and dashes.")
    ],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where to create its folder.")] = Path(),
    python: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="Interpreter to install it for.")
    ] = None,
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

    _refuse_name(name, "a target", "my-server")
    _refuse_what_is_another(name)
    place = folder / name
    _refuse_taken(place)
    interpreter = interpreter_of(python)
    _refuse_what_is_installed(name, interpreter)
    with _making(folder):
        written = write_target(place, name)
    for path in written:
        print(str(path))
    there = "" if python is None else f" --python {interpreter}"
    pip = "pip" if python is None else f"{interpreter} -m pip"
    say(f"next: {pip} install -e {place} && swapbench run quick --target {name}{there}")


@app.command(cls=Command)
def experiment(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and dashes.")
    ],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where to create the file.")] = Path(),
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

    _refuse_name(name, "an experiment", "my-experiment")
    place = folder / f"{name}.toml"
    _refuse_taken(place)
    with _making(folder):
        written = write_experiment(place, name)
    print(str(written))
    said = place if folder.parts else f"./{place}"
    say(f"next: swapbench show {said} && swapbench run {said}")


def _refuse_name(name: str, what: str, such_as: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UsageError(f'"{name}": {what} is named by lower-case letters, digits and dashes: {such_as}')


def _refuse_what_is_another(name: str) -> None:
    """The name becomes a module's and a target's: neither may hide one that is there, or be none."""
    import keyword

    from swapbench.run.targets import BUILT_IN
    from swapbench.spec.preset import shipped

    if name in (*BUILT_IN, *shipped()):
        raise UsageError(f'"{name}": is a target of swapbench; choose another name')
    if name[0].isdigit():
        raise UsageError(f"\"{name}\": a Python module's name can't begin with a digit; choose another name")
    if keyword.iskeyword(name):
        raise UsageError(f'"{name}": can\'t be the name of a Python module of yours; choose another name')


def _refuse_what_is_installed(name: str, python: str) -> None:
    """A package of that name would hide one that is there, or replace it."""
    from swapbench.base.process import said_by

    said, last = said_by(python, _ASK, name)
    if not said:
        raise UsageError(f"{python}: does not say what it has installed: {last}")
    if said != "free":
        raise UsageError(f'"{name}": {python} has a package of that name; choose another name')


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """A folder that isn't there is made, but not those that it would stand in: they are misspelt.

    Raises:
        UsageError: it can't be made or written.
    """
    try:
        folder.mkdir(exist_ok=True)
        yield
    except FileNotFoundError:
        raise UsageError(
            f"--folder {folder}: {folder.parent} is no folder; choose one that is there"
        ) from None
    except OSError as error:
        raise UsageError(f"--folder {folder}: can't be written: {error.strerror}") from None


def _refuse_taken(place: Path) -> None:
    if place.exists():
        raise UsageError(f"{place}: is there already; choose another name, or another --folder")

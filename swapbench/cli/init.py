"""`swapbench init`: files to start from."""

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli.carrying import say
from swapbench.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write files to start from.")


@app.command()
def target(
    name: Annotated[str, typer.Argument(help="What it is called: lower-case letters, digits and dashes.")],
    folder: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Write a package that plugs an orchestrator of your own in as a target.

    Examples:

      swapbench init target my-server

      pip install -e ./my-server && swapbench run quick --target my-server
    """
    from swapbench.templates import write_target

    if not name or not all(part.isalnum() and part.islower() for part in name.split("-")):
        raise UsageError(f'"{name}": a target is named by lower-case letters, digits and dashes: my-server')
    place = folder / name
    if place.exists():
        raise UsageError(f"{place}: is there already; choose another name, or another --folder")
    for path in write_target(place, name):
        typer.echo(str(path))
    say(f"next: pip install -e {place} && swapbench run quick --target {name}")

"""`swapbench selfcheck`."""

from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import Exit, UsageError
from swapbench.cli.carrying import say
from swapbench.cli.options import Json


def selfcheck(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", metavar="DIR", help="Try the volume of this folder; that of the models if left out."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Try on this machine what swapbench relies on.

    Each claim is right, wrong, or not here: the machine has no such thing. It takes under three minutes, and
    some 1.5 GB of disk and memory, which it gives back. What --json prints is a file to attach to an issue.

    \b
    Examples:
      swapbench selfcheck
      swapbench selfcheck --folder /Volumes/models
      swapbench selfcheck --json > selfcheck.json

    Exit codes: 0 nothing is wrong, 2 usage, 7 a claim is wrong, or nothing can be tried.
    """
    from swapbench.machine.doctor.selfcheck import Row
    from swapbench.machine.doctor.selfcheck import selfcheck as tried
    from swapbench.machine.environment import this_machine
    from swapbench.machine.limits import Volume, load
    from swapbench.models.cache import cache_root
    from swapbench.report.selfcheck import in_a_line, print_end, print_row
    from swapbench.report.terminal import make_console
    from swapbench.run.capacity import measure, models_folder

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --folder chooses another place")
    folder = folder or models_folder()
    limits = load(this_machine(), Volume.of(folder), cache_root()) or measure(folder, say)[0]
    console = make_console()

    def show(row: Row) -> None:
        if json:
            say(in_a_line(row))
        else:
            print_row(row, console)

    found = tried(folder, limits, say, show)
    if json:
        print(found.model_dump_json(indent=2))
    else:
        print_end(found, console)
    if found.wrong():
        raise typer.Exit(Exit.FAILED)

"""`swapbench probe`."""

from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import UsageError
from swapbench.cli.carrying import say


def probe(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Measure the volume of this folder; that of the models if left out.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the limits as JSON.")] = False,
) -> None:
    """Measure what this machine's disk and memory could do.

    Reports set loads against it. Takes under a minute and about 1 GB of disk and memory, which it gives back.

    \b
    Examples:
      swapbench probe
      swapbench probe --folder /Volumes/models --json

    Exit codes: 0 fine, 2 usage, 7 it can't be measured.
    """
    from swapbench.report.limits import print_limits
    from swapbench.report.terminal import make_console
    from swapbench.run.capacity import measure, models_folder

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --folder chooses another place")
    limits, path = measure(folder or models_folder(), say)
    if json:
        print(limits.model_dump_json(indent=2))
        return
    print_limits(limits, make_console())
    say(f"kept for reports: {path}")

"""`swapbench doctor`, `probe` and `selfcheck`: what this machine is good for."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from swapbench.base.errors import Exit, UsageError, WorkerError
from swapbench.cli.options import Json, Results, option
from swapbench.cli.output import say

Folder = Annotated[Path | None, option("DIR", "Use the volume of this folder. Default: the models' volume.")]


def _chosen(folder: Path | None) -> Path:
    from swapbench.run.capacity import models_folder

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --folder chooses another place")
    return folder or models_folder()


def doctor(
    results: Results = Path("results"),
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 if there is anything to do.")] = False,
    device: Annotated[
        Literal["cpu", "gpu"] | None, typer.Option(help="Exit with 7 if MLX computes on another device.")
    ] = None,
    json: Json = False,
) -> None:
    """Check that this machine is quiet enough to measure on.

    It names what disturbs, and how to fix it.

    \b
    Examples:
      swapbench doctor
      swapbench doctor --strict --json
      swapbench doctor --device gpu

    Exit codes: 0 fine, 6 there is something to do (--strict), 7 MLX can't be examined, or computes on another
    device than --device.
    """
    from swapbench.machine.doctor import (
        complaint_about_device,
        judge_examination,
        judge_room,
        judge_surroundings,
        unknown,
    )
    from swapbench.machine.environment import this_machine
    from swapbench.machine.surroundings import busiest_of_mine, examine, free_bytes, look_around
    from swapbench.models.cache import cache_root
    from swapbench.report.console import make_console
    from swapbench.report.doctor import checks_to_json, print_checks
    from swapbench.run.capacity import models_folders, weights_here

    if not json:
        say("checking: takes some seconds")
    rooms = [judge_room("results", results, free_bytes(results))]
    folders: tuple[Path, ...] = ()
    weights: dict[str, int] = {}
    try:
        models = cache_root()
        rooms.insert(0, judge_room("models", models, free_bytes(models)))
        folders, weights = models_folders(), weights_here()
    except UsageError as error:
        models = results
        rooms.insert(0, unknown("disk for models", str(error)))
    around = look_around(folders)
    found = examine(models)
    checks = (
        *judge_surroundings(around, weights, found.working_set_bytes),
        *rooms,
        *judge_examination(found),
    )
    if json:
        print(checks_to_json(this_machine(), checks), end="")
    else:
        busy = any(check.name == "load" and check.advice for check in checks)
        print_checks(this_machine(), checks, make_console(), busiest_of_mine() if busy else ())
    if device is not None and (complaint := complaint_about_device(found, device)):
        raise WorkerError(complaint)
    if strict and any(check.status == "advice" for check in checks):
        raise typer.Exit(Exit.INCONCLUSIVE)


def probe(
    folder: Folder = None,
    json: Annotated[bool, typer.Option("--json", help="Print the limits as JSON.")] = False,
) -> None:
    """Measure the limits of this machine's disk and memory.

    Reports compare loads with these limits. It takes under a minute, and meanwhile 1 GB of disk and memory.

    \b
    Examples:
      swapbench probe
      swapbench probe --folder /Volumes/models --json

    Exit codes: 0 fine, 2 usage, 7 it can't be measured.
    """
    from swapbench.report.console import make_console
    from swapbench.report.doctor import print_limits
    from swapbench.run.capacity import measure

    limits, path = measure(_chosen(folder), say)
    if json:
        print(limits.model_dump_json(indent=2))
        return
    print_limits(limits, make_console())
    say(f"kept for reports: {path}")


def selfcheck(folder: Folder = None, json: Json = False) -> None:
    """Test whether swapbench measures correctly on this machine.

    Each claim is right, wrong, or not here: it is about something that this machine
    lacks. It takes under three minutes, and meanwhile about 1.5 GB of disk and memory. Attach the output of
    --json to an issue.

    \b
    Examples:
      swapbench selfcheck
      swapbench selfcheck --folder /Volumes/models
      swapbench selfcheck --json > selfcheck.json

    Exit codes: 0 nothing is wrong, 2 usage, 7 a claim is wrong, or nothing can be tried.
    """
    from swapbench.machine.environment import Volume, load_limits, this_machine
    from swapbench.machine.selfcheck import selfcheck as tried
    from swapbench.models.cache import cache_root
    from swapbench.report.console import make_console
    from swapbench.report.doctor import in_a_line, print_end, print_row
    from swapbench.run.capacity import measure

    folder = _chosen(folder)
    limits = load_limits(this_machine(), Volume.of(folder), cache_root()) or measure(folder, say)[0]
    console = make_console()
    show = (lambda row: say(in_a_line(row))) if json else partial(print_row, console=console)
    found = tried(folder, limits, say, show)
    if json:
        print(found.model_dump_json(indent=2))
    else:
        print_end(found, console)
    if found.wrong():
        raise typer.Exit(Exit.FAILED)

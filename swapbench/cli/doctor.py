"""`swapbench doctor`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from swapbench.base.errors import Exit, UsageError, WorkerError
from swapbench.cli.carrying import say
from swapbench.cli.options import Json, Results

# Where MLX can compute.
Device = Literal["cpu", "gpu"]


def doctor(
    results: Results = Path("results"),
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 6 where there is anything to do.")
    ] = False,
    device: Annotated[
        Device | None, typer.Option(help="Exit with 7 where MLX computes on another device than this.")
    ] = None,
    json: Json = False,
) -> None:
    """Look whether this machine can be measured on as it is now.

    It says what disturbs, and what to do about it.

    \b
    Examples:
      swapbench doctor
      swapbench doctor --strict --json
      swapbench doctor --device gpu

    Exit codes: 0 fine, 6 there is something to do (--strict), 7 MLX can't be examined, or computes on another
    device than --device.
    """
    from swapbench.machine.doctor import unknown
    from swapbench.machine.doctor.judge import (
        complaint_about_device,
        judge_examination,
        judge_room,
        judge_surroundings,
    )
    from swapbench.machine.doctor.surroundings import busiest_of_mine, examine, look_around, room_for
    from swapbench.machine.environment import this_machine
    from swapbench.models.cache import cache_root
    from swapbench.report.checkup import checks_to_json, print_checks
    from swapbench.report.terminal import make_console
    from swapbench.run.capacity import models_folders, weights_here

    if not json:
        say("looking: some seconds")
    rooms, homeless = [room_for("results", results)], ""
    folders: tuple[Path, ...] = ()
    weights: dict[str, int] = {}
    try:
        models = cache_root()
        rooms.insert(0, room_for("models", models))
        folders, weights = models_folders(), weights_here()
    except UsageError as error:
        models, homeless = results, str(error)
    around = look_around(folders)
    found = examine(models)
    checks = (
        *judge_surroundings(around, weights, found.working_set_bytes),
        *((unknown("disk for models", homeless),) if homeless else ()),
        *judge_room(tuple(rooms)),
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

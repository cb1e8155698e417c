"""What commands that carry out a run have in common: say things, show progress, end well."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from swapbench.base.errors import one_line
from swapbench.base.interrupts import exit_code, in_words
from swapbench.base.process import quoted

if TYPE_CHECKING:
    from swapbench.run.runner import Job


def say(text: str) -> None:
    """To the user, beside the report."""
    print(text, file=sys.stderr)


def complain(what: object) -> None:
    """What went wrong, as every failure is told: in one line."""
    say(one_line(f"swapbench: {what}"))


def carry_out_watched(
    job: "Job",
    *,
    quiet: bool,
    verbose: bool = False,
    json: bool = False,
    resumable: bool = True,
    sides: Mapping[str, str] | None = None,
) -> None:
    """Carry a run out under the user's eyes.

    Args:
        json: whether the report is for a program: then nobody watches, unless `verbose` says so.
        resumable: whether what it needs is still there once this command has ended.
        sides: what its arms are called, where not by their names.

    Raises:
        typer.Exit: interrupted; what was measured is kept, and the user is told how to go on.
    """
    from swapbench.cli.progress import observing
    from swapbench.machine import mac
    from swapbench.run.runner import carry_out, told_of

    quiet = quiet or (json and not verbose)
    if not quiet:
        for check in job.writer.info.checks:
            if check.advice:
                say(f"note: {check.finding}: {check.advice}")
    if job.presence.others:
        say(f"warning: {told_of(job.presence.others)}")
    try:
        with mac.kept_awake(), observing(job, quiet=quiet, verbose=verbose, sides=sides) as observer:
            carry_out(job, observer)
    except KeyboardInterrupt as error:
        folder = job.writer.folder
        complain(f"{in_words(error)}; every finished swap is kept in {folder}")
        run = quoted(folder)
        go_on = f"go on with `swapbench run --resume {run}`, " if resumable else ""
        say(f"{go_on}look with `swapbench report {run}`")
        raise typer.Exit(exit_code(error)) from None

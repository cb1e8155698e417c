"""What commands that carry out a run have in common: say things, show progress, end well."""

from typing import TYPE_CHECKING

import typer

from swapbench.errors import Exit

if TYPE_CHECKING:
    from swapbench.runner import Job


def say(text: str) -> None:
    """To the user, beside the report."""
    typer.echo(text, err=True)


def carry_out_watched(job: "Job", *, quiet: bool) -> None:
    """Carry a run out under the user's eyes.

    Raises:
        typer.Exit: interrupted; what was measured is kept, and the user is told how to go on.
    """
    import signal

    from swapbench.cli.progress import observing
    from swapbench.runner import carry_out

    # A CI system ends a job by SIGTERM: what was measured is kept as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    info = job.writer.info
    if not quiet:
        for check in info.checks:
            if check.advice:
                say(f"note: {check.finding}: {check.advice}")
    try:
        with observing(info, quiet=quiet) as observer:
            carry_out(job, observer)
    except KeyboardInterrupt:
        say(f"interrupted: every finished swap is kept in {job.writer.folder}")
        say(f"go on with `swapbench run --resume {info.run_id}`, look with `swapbench report {info.run_id}`")
        raise typer.Exit(Exit.INTERRUPTED) from None

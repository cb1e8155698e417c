"""The `swapbench` command: parse, call, print. Heavy imports wait until a command runs."""

import sys

import typer

from swapbench import __version__
from swapbench.cli import baseline, experiments, init, models, report
from swapbench.cli.compare import ab, compare
from swapbench.cli.doctor import doctor
from swapbench.cli.gate import gate
from swapbench.cli.history import history
from swapbench.cli.probe import probe
from swapbench.cli.run import run
from swapbench.cli.targets import targets
from swapbench.errors import Exit, SwapbenchError

app = typer.Typer(
    name="swapbench",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How long a machine takes to put down one LLM and serve another, phase by phase.",
)
app.command()(run)
app.command()(report.report)
app.command()(report.runs)
app.command()(compare)
app.command()(ab)
app.command()(gate)
app.add_typer(baseline.app, name="baseline")
app.add_typer(init.app, name="init")
app.command()(history)
app.command("list")(experiments.list_)
app.command()(experiments.show)
app.command()(experiments.schema)
app.command()(targets)
app.command()(probe)
app.command()(doctor)
app.add_typer(models.app, name="models")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"swapbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; every failure that is explained becomes one line and its exit code."""
    try:
        app()
    except SwapbenchError as error:
        typer.echo(f"swapbench: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("swapbench: interrupted", err=True)
        sys.exit(Exit.INTERRUPTED)

"""`swapbench history` and `swapbench baseline`: past runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import IncomparableError, UsageError
from swapbench.cli import completion
from swapbench.cli.options import Json, Results
from swapbench.cli.output import complain, say
from swapbench.cli.usage import Command, CommandGroup


def history(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="An experiment's name: its folder under results.",
            autocompletion=completion.experiments_run,
        ),
    ],
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Where runs are kept; repeatable, for results of other machines."),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help="to_first_token, total, first_token or a phase. Default: to_first_token if all swaps of a "
            "run have it, else total.",
            autocompletion=completion.figures,
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this scenario.", autocompletion=completion.scenarios),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this strategy.",
            autocompletion=completion.strategies,
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the last N runs of each series.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an experiment's figures over many runs.

    It also shows where they changed. A series holds runs on the same machine under the same conditions.
    Changes do not affect the exit code.

    \b
    Examples:
      swapbench history exp012
      swapbench history exp012 --figure load --last 50
      swapbench history exp012 --results results --results /mnt/other-mac/results --json

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.compare.history import only, read_history
    from swapbench.compare.series import analyse_history
    from swapbench.report.console import make_console
    from swapbench.report.history import history_to_json, left_out, print_history
    from swapbench.store.tables import HEADLINE

    read = read_history(results or [Path("results")], experiment, figure or HEADLINE)
    past = analyse_history(only(read, scenario=scenario, strategy=strategy), last)
    if as_json:
        print(history_to_json(past), end="")
    else:
        print_history(past, make_console())
    for line in left_out(past):
        complain(line)


baseline = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep runs as baselines for later ones.\n\n"
    "\b\nExamples:\n  swapbench baseline save nightly\n  swapbench gate exp012 --baseline nightly\n\n"
    "Exit codes: 0 fine, 2 usage.",
)


@baseline.command(cls=Command)
def save(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The baseline's name; created if it doesn't exist.",
            autocompletion=completion.baselines,
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs to keep. Default: the latest run.",
            autocompletion=completion.runs,
        ),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Copy runs into a baseline, a folder fit for git.

    \b
    Examples:
      swapbench baseline save nightly
      swapbench baseline save nightly 20260125T101500Z-hub 20260126T101500Z-hub

    Exit codes: 0 fine, 2 usage, or no such run, 6 a run whose tables were changed.
    """
    from swapbench.compare.history import BASELINES, keep
    from swapbench.store import read_whole, resolve

    folders = [resolve(results, run) for run in runs] if runs else [resolve(results, None)]
    new, there = keep(results, name, [read_whole(folder) for folder in folders])
    say(f"{results / BASELINES / name}: {new} new, {there} in all")


@baseline.command("list", cls=Command)
def list_(as_json: Json = False, results: Results = Path("results")) -> None:
    """List baselines.

    \b
    Examples:
      swapbench baseline list
      swapbench baseline list --json

    Exit codes: 0 fine, 2 usage, or a baseline that can't be read.
    """
    from swapbench.compare.history import BASELINES, baseline_folder, baselines, experiments_in
    from swapbench.report.console import list_console
    from swapbench.report.history import print_baselines
    from swapbench.store import list_runs

    rows = []
    for name in baselines(results):
        folder = baseline_folder(results, name)
        began = [info.started_at for _, info in list_runs(folder)]
        rows.append(
            {
                "name": name,
                "experiments": experiments_in(folder),
                "runs": len(began),
                "latest": began[-1].isoformat() if began else None,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        print_baselines(rows, list_console())
    else:
        say(f"no baseline under {results / BASELINES}; `swapbench baseline save NAME` makes one")


@baseline.command(cls=Command)
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The baseline's name.",
            autocompletion=completion.baselines,
        ),
    ],
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """Show a baseline's runs, and how much they differ.

    Comparable runs form one series. For one experiment alone:
    `swapbench history EXPERIMENT --results results/baselines/NAME`.

    \b
    Examples:
      swapbench baseline show nightly

    Exit codes: 0 fine, 2 usage, or no such baseline.
    """
    from swapbench.base.figures import counted
    from swapbench.compare.history import baseline_folder, experiments_in, read_history
    from swapbench.compare.series import analyse_history
    from swapbench.report.console import make_console
    from swapbench.report.history import history_to_json, left_out, print_history
    from swapbench.stats.prediction import FEWEST_RUNS

    try:
        kept = baseline_folder(results, name)
    except IncomparableError as error:
        raise UsageError(str(error)) from None
    pasts = [analyse_history(read_history([kept], experiment)) for experiment in experiments_in(kept)]
    if as_json:
        print(f"[{', '.join(history_to_json(past).strip() for past in pasts)}]")
        return
    for past in pasts:
        print_history(past, make_console())
        fewest = min((len(series.points) for series in past.series), default=0)
        wanted = "" if fewest >= FEWEST_RUNS else f"; to judge by them, {FEWEST_RUNS} alike are wanted"
        print(f"{past.experiment}: {counted(past.runs, 'run')} kept{wanted}")
        for line in left_out(past):
            complain(line)

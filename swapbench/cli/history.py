"""`swapbench history`."""

from pathlib import Path
from typing import Annotated

import typer

from swapbench.cli import completion
from swapbench.cli.carrying import complain
from swapbench.cli.options import Json


def history(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="An experiment's name, as its folder under results.",
            autocompletion=completion.experiments_run,
        ),
    ],
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Where runs are kept; repeatable, for folders brought from other machines."
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help="to_first_token, total, first_token or a phase; by default, run by run, to_first_token "
            "where all swaps have it, else total.",
            autocompletion=completion.figures,
        ),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This scenario alone.", autocompletion=completion.scenarios),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="This strategy alone.",
            autocompletion=completion.strategies,
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The last so many runs of each series.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how an experiment's figures went from run to run.

    It says where they changed, too. Only runs on the same machine under the same conditions stand in one
    series. Changes are information, never a verdict: the exit code does not depend on them.

    \b
    Examples:
      swapbench history exp012
      swapbench history exp012 --figure load --last 50
      swapbench history exp012 --results results --results /mnt/other-mac/results --json

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.compare.history import only, read_history
    from swapbench.compare.series import analyse_history
    from swapbench.report.history import history_to_json, left_out, print_history
    from swapbench.report.terminal import make_console
    from swapbench.store.medians import HEADLINE

    read = read_history(results or [Path("results")], experiment, figure or HEADLINE)
    past = analyse_history(only(read, scenario=scenario, strategy=strategy), last)
    if as_json:
        print(history_to_json(past), end="")
    else:
        print_history(past, make_console())
    for line in left_out(past):
        complain(line)

"""`swapbench history` and `swapbench baseline`: past runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from swapbench.base.errors import UsageError
from swapbench.cli import completion
from swapbench.cli.options import Json, Results
from swapbench.cli.output import complain, say
from swapbench.cli.usage import Command, Commands


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


baseline = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep runs, to judge later ones by.\n\n"
    "\b\nExamples:\n  swapbench baseline save nightly\n  swapbench gate exp012 --baseline nightly\n\n"
    "Exit codes: 0 fine, 2 usage.",
)


@baseline.command(cls=Command)
def save(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The baseline's name; it is made if there is none.",
            autocompletion=completion.baselines,
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs to keep; the latest of all if left out.",
            autocompletion=completion.runs,
        ),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Add runs to a baseline: a few hundred bytes each, made for git.

    \b
    Examples:
      swapbench baseline save nightly
      swapbench baseline save nightly 20260125T101500Z-hub 20260126T101500Z-hub

    Exit codes: 0 fine, 2 usage, or no such run, 6 a run whose tables were changed.
    """
    from swapbench.compare import baselines
    from swapbench.compare.fingerprint import digest
    from swapbench.compare.keeping import kept_run
    from swapbench.store import read_whole, resolve

    folders = [resolve(results, run) for run in runs] if runs else [resolve(results, None)]
    kept = [kept_run(read_whole(folder)) for folder in folders]
    aspects = {digest(of): of for _, of in kept}
    new, there = baselines.save(results, name, [entry for entry, _ in kept], aspects)
    say(f"{results / baselines.FOLDER / name}: {new} new, {there} in all")


@baseline.command("list", cls=Command)
def list_(as_json: Json = False, results: Results = Path("results")) -> None:
    """List the baselines that there are.

    \b
    Examples:
      swapbench baseline list
      swapbench baseline list --json

    Exit codes: 0 fine, 2 usage, or a baseline that can't be read.
    """
    from swapbench.compare import baselines
    from swapbench.report.baselines import print_baselines
    from swapbench.report.listing import list_console

    found = {name: baselines.load(results, name) for name in baselines.names(results)}
    if as_json:
        listed = [
            {"name": name, "runs": len(runs), "fingerprints": sorted({run.fingerprint for run in runs})}
            for name, runs in found.items()
        ]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
    elif found:
        print_baselines(found, list_console())
    else:
        say(f"no baseline under {results / baselines.FOLDER}; `swapbench baseline save NAME` makes one")


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
    """Show a baseline's runs, by fingerprint.

    It says what they have in common, and how much they differ.

    \b
    Examples:
      swapbench baseline show nightly

    Exit codes: 0 fine, 2 usage, or no such baseline.
    """
    from swapbench.base.errors import did_you_mean
    from swapbench.compare import baselines
    from swapbench.report.baselines import print_baseline
    from swapbench.report.terminal import make_console

    known = baselines.names(results)
    if name not in known:
        raise UsageError(
            f'no baseline "{name}" under {results / baselines.FOLDER}; {did_you_mean(name, known)}'
        )
    runs, aspects = baselines.load(results, name), baselines.fingerprints(results, name)
    if as_json:
        document = {"fingerprints": aspects, "runs": [run.model_dump(mode="json") for run in runs]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print_baseline(runs, aspects, make_console())

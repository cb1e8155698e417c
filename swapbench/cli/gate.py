"""`swapbench gate`, `history` and `baseline`: a change judged, past runs, and those kept to judge by."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swapbench.base.errors import IncomparableError, UsageError, one_line
from swapbench.cli import completion, options
from swapbench.cli.options import Command, argument, command_line, group, interpreter_of, option, overrides_of
from swapbench.cli.output import complain, print_rows, say

if TYPE_CHECKING:
    from swapbench.compare.gate import Gate
    from swapbench.run.runner import Job
    from swapbench.store import Run


def _reports(ctx: typer.Context, reports: Path | None) -> Path | None:
    """Looked at before anything is measured."""
    from swapbench.base.files import why_no_folder

    if reports is not None and not ctx.resilient_parsing and (why := why_no_folder(reports)):
        raise UsageError(f"--reports {reports}: can't be written: {why}; choose another place")
    return reports


def gate(
    experiment: options.Experiment,
    base: Annotated[str | None, option("REF", "Compare with the merge base of HEAD and REF.")] = None,
    baseline: Annotated[
        str | None, option("NAME", "Compare with the runs of this baseline.", completion.baselines)
    ] = None,
    python: Annotated[
        Path | None, option("PYTHON", "Interpreter that runs the change. Default: this one.")
    ] = None,
    build: Annotated[str | None, option("COMMAND", "Builds the base's .venv. Default: uv or pip.")] = None,
    pairs: Annotated[int | None, option("N", "Rounds of each side. Default: gate.pairs.", min=6)] = None,
    margin: options.Margin = None,
    models: options.Models = None,
    page_cache: options.PageCache = None,
    set_: options.Settings = None,
    on_inconclusive: Annotated[
        Literal["warn", "fail"],
        typer.Option(help="If the verdict is inconclusive, warn exits with 0, fail with 6."),
    ] = "warn",
    out: options.Out = Path("results"),
    reports: Annotated[
        Path | None,
        option("DIR", "Folder for gate.json, gate.md and gate.xml. Default: the run's.", callback=_reports),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Fail if a change makes swaps slower, or leak.

    --base checks out and builds the merge base, and measures it and the working tree in turn. A regression
    counts only if a second measurement confirms it. On GitHub, the gate also writes the job's summary and
    annotations.

    \b
    Examples:
      swapbench gate exp012 --base origin/main
      swapbench gate quick --base main --set gate.margin=0.25 --on-inconclusive fail
      swapbench gate exp012 --baseline nightly

    Exit codes: 0 fine, 2 usage, 3 regression, 5 leak, 6 inconclusive (--on-inconclusive fail), no baseline or
    no base to compare with, 7 a swap failed, 130 interrupted.
    """
    from swapbench.cli.progress import carry_out_watched
    from swapbench.compare.gate import exit_code
    from swapbench.compare.history import History, baseline_folder, experiments_in, read_history
    from swapbench.run.gate import Asking, gate_on_base, gate_on_history
    from swapbench.spec.experiment import find
    from swapbench.store import read

    def carried(job: "Job") -> "Run":
        # The base is gone once the gate has ended, and a gate is judged in one go.
        carry_out_watched(job, quiet=quiet, verbose=verbose, json=json, resumable=False, sides=sides_of(job))
        return read(job.writer.folder)

    if (base is None) == (baseline is None):
        raise UsageError("give either --base REF (a commit or branch) or --baseline NAME")
    if baseline is not None and (pairs is not None or build is not None):
        raise UsageError(
            "--pairs and --build go with --base: with --baseline the experiment runs alone, for its own "
            "rounds (--set rounds=10)"
        )
    asking = Asking(
        file=find(experiment),
        settings=overrides_of(set_, {"--models": models, "--page-cache": page_cache}),
        pairs=pairs,
        margin=margin,
        python=interpreter_of(python),
        out=out,
        command=command_line(),
        carry=carried,
        say=say,
    )
    if baseline is None:
        assert base is not None
        judged = gate_on_base(asking, base, build, trusted=python is not None)
    else:
        # That there is none is told before anything is measured.
        kept, name = baseline_folder(out, baseline), asking.file.stem
        past = read_history([kept], name) if name in experiments_in(kept) else History(name, 0, (), ())
        judged = gate_on_history(asking, baseline, past)
    _tell(judged, reports or Path(judged.runs[0]), json=json)
    raise typer.Exit(exit_code(judged, fail_inconclusive=on_inconclusive == "fail"))


def sides_of(job: "Job") -> dict[str, str]:
    """What a gate calls the arms of a job: it measures the change alone, too, and that has no name."""
    if len(job.arms) < 2:
        return {}
    return dict(zip((arm.name for arm in job.arms), ("base", "change"), strict=True))


def _tell(judged: "Gate", folder: Path, *, json: bool) -> None:
    """Everything is on disk before anything is printed."""
    from swapbench.report.console import make_console
    from swapbench.report.gate import annotations, print_gate, to_json, to_markdown, write_reports

    write_reports(judged, folder)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_summary(to_markdown(judged), Path(summary))
    if json:
        print(to_json(judged), end="")
    else:
        print_gate(judged, make_console())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(judged):
            print(line, file=sys.stderr if json else sys.stdout)
    say(one_line(f"reports: {folder}/gate.json, gate.md, gate.xml"))


def append_summary(text: str, summary: Path) -> None:
    """Nothing is lost where a CI system's page has no room: the reports have it all."""
    try:
        with summary.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        complain(f"{summary}: {error.strerror}; GITHUB_STEP_SUMMARY has no room for this gate's summary")


def history(
    experiment: Annotated[
        str,
        argument("EXPERIMENT", "An experiment's name: its folder under results.", completion.experiments_run),
    ],
    results: Annotated[
        list[Path] | None,
        option("DIR", "Where runs are kept; repeatable, for results of other machines."),
    ] = None,
    figure: Annotated[
        str | None,
        option(
            "FIGURE",
            "to_first_token, total, first_token or a phase. Default: to_first_token if all swaps of a "
            "run have it, else total.",
            completion.figures,
        ),
    ] = None,
    scenario: Annotated[str | None, option("NAME", "Only this scenario.", completion.scenarios)] = None,
    strategy: Annotated[str | None, option("NAME", "Only this strategy.", completion.strategies)] = None,
    last: Annotated[int | None, option("N", "Only the last N runs of each series.", min=1)] = None,
    as_json: options.Json = False,
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
    from swapbench.compare.history import analyse_history, only, read_history
    from swapbench.report.console import make_console
    from swapbench.report.forms import history_to_json, left_out, print_history
    from swapbench.store.tables import HEADLINE

    read = read_history(results or [Path("results")], experiment, figure or HEADLINE)
    past = analyse_history(only(read, scenario=scenario, strategy=strategy), last)
    if as_json:
        print(history_to_json(past), end="")
    else:
        print_history(past, make_console())
    for line in left_out(past):
        complain(line)


baseline = group(
    "baseline",
    "Keep runs as baselines for later ones.",
    "swapbench baseline save nightly",
    "swapbench gate exp012 --baseline nightly",
    codes="0 fine, 2 usage",
)


@baseline.command(cls=Command)
def save(
    name: Annotated[
        str, argument("NAME", "The baseline's name; created if it doesn't exist.", completion.baselines)
    ],
    runs: Annotated[
        list[str] | None, argument("RUN", "Runs to keep. Default: the latest run.", completion.runs)
    ] = None,
    results: options.Results = Path("results"),
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

    chosen = [resolve(results, run) for run in runs or (None,)]
    new, there = keep(results, name, map(read_whole, chosen))
    say(f"{results / BASELINES / name}: {new} new, {there} in all")


@baseline.command("list", cls=Command)
def list_(as_json: options.Json = False, results: options.Results = Path("results")) -> None:
    """List baselines.

    \b
    Examples:
      swapbench baseline list
      swapbench baseline list --json

    Exit codes: 0 fine, 2 usage, or a baseline that can't be read.
    """
    from swapbench.compare.history import BASELINES, baseline_folder, baselines, experiments_in
    from swapbench.report.lists import print_baselines
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
    print_rows(rows, print_baselines, as_json=as_json)
    if not rows and not as_json:
        say(f"no baseline under {results / BASELINES}; `swapbench baseline save NAME` makes one")


@baseline.command(cls=Command)
def show(
    name: Annotated[str, argument("NAME", "The baseline's name.", completion.baselines)],
    as_json: options.Json = False,
    results: options.Results = Path("results"),
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
    from swapbench.compare.history import analyse_history, baseline_folder, experiments_in, read_history
    from swapbench.report.console import make_console
    from swapbench.report.forms import history_to_json, left_out, print_history
    from swapbench.stats.trend import FEWEST_RUNS

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

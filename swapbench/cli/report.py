"""`swapbench report` and `swapbench runs`; pages of runs, and of comparisons."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swapbench.base.errors import Exit, ResultsError, UsageError
from swapbench.base.process import quoted
from swapbench.cli import completion
from swapbench.cli.options import Html, Json, Results, refuse_page_and_form
from swapbench.cli.output import complain, say

if TYPE_CHECKING:
    from swapbench.base.phases import HeadlineFigure
    from swapbench.compare.comparison import Comparison
    from swapbench.findings import Findings
    from swapbench.findings.runs import RunOutline
    from swapbench.report.sections.view import RunView
    from swapbench.store import Run

Format = Literal["rich", "md", "json", "trace"]


def report(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="A run's id or folder, or an experiment for its latest run. Default: the latest run.",
            autocompletion=completion.runs_and_experiments,
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="rich for a terminal, md, json, or trace for Perfetto.")
    ] = "rich",
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show only this strategy of several, phase by phase.",
            autocompletion=completion.strategies,
        ),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show only this arm of a comparison: A, B, C ...",
            autocompletion=completion.arms,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 6 if anything is inconclusive or invalid.")
    ] = False,
    html: Html = None,
    results: Results = Path("results"),
) -> None:
    """Show a run's report; the exit code is its verdict.

    \b
    Examples:
      swapbench report
      swapbench report exp012 --format md
      swapbench report exp012 --format trace > trace.json      (open it at ui.perfetto.dev)
      swapbench report exp012 --html exp012.html
      swapbench report exp013-strategies --strategy slab
      swapbench report results/reference/exp012-m4pro-24gb

    A run of `swapbench ab` is shown as a comparison; --arm shows one side of it as any other run.

    Exit codes: 0 fine, 2 usage, 3 regression, 4 target missed, 5 leak, 6 inconclusive or invalid (--strict),
    7 a swap failed.
    """
    from swapbench.store import resolve

    refuse_page_and_form(html, form)
    code = print_run(resolve(results, run), form, strict=strict, strategy=strategy, arm=arm, html=html)
    raise typer.Exit(code)


def print_run(
    folder: Path,
    form: str,
    *,
    strict: bool,
    strategy: str | None = None,
    arm: str | None = None,
    html: Path | None = None,
) -> Exit:
    """Print a run's report on standard output, or write it as a page; returns the exit code that it means.

    Raises:
        ResultsError: the folder holds no run, or one this swapbench can't read.
        UsageError: the run has no such strategy, or no such arm.
    """
    from swapbench.findings import analyse, exit_code
    from swapbench.findings.runs import arm_of, only
    from swapbench.report.console import make_console
    from swapbench.report.run import show
    from swapbench.run.capacity import limits_of
    from swapbench.store import read

    if form == "trace":
        _want_redirection(folder)
    run = read(folder)
    if arm is not None:
        run = arm_of(run, arm)
    if run.info.arms:
        if strategy is not None:
            raise UsageError("--strategy: this run compares arms; name one of them, too: --arm A")
        if form == "trace":
            return _print_trace(run)
        return print_arms(run, form, None, strict=strict, html=html)
    if strategy is not None:
        run = only(run, strategy)
    # A run from before `swapbench probe` was first run here can still be set against its limits.
    findings = analyse(run, limits_of(run.info.models, run.info.machine))
    if html is not None:
        write_run(run, findings, html, _said({"--arm": arm, "--strategy": strategy}))
    elif form == "trace":
        _print_trace(run)
    else:
        show(findings, form, make_console())
    return exit_code(findings, strict)


def _said(options: dict[str, str | None]) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (name, value)]


def _want_redirection(folder: Path) -> None:
    """A trace is megabytes of JSON, and nobody reads it.

    Raises:
        UsageError: standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise UsageError(
            "a trace is for Perfetto, not for a terminal; write it to a file: "
            f"swapbench report {quoted(folder)} --format trace > trace.json"
        )


def _print_trace(run: "Run") -> Exit:
    from swapbench.findings.timeline import timeline_of
    from swapbench.report.trace import to_trace

    sys.stdout.write(to_trace(run.info, timeline_of(run)))
    return Exit.OK


def runs(
    as_json: Json = False,
    results: Results = Path("results"),
) -> None:
    """List runs, oldest first.

    \b
    Examples:
      swapbench runs
      swapbench runs --json --results /tmp/results

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.findings.runs import outline
    from swapbench.report.console import list_console
    from swapbench.report.lists import print_runs, runs_to_json
    from swapbench.store import find_runs, read_outline

    found: list[RunOutline] = []
    unreadable: list[ResultsError] = []
    for folder in find_runs(results):
        try:
            run = read_outline(folder)
            found.append(outline(run))
            if run.damage:
                complain(f"{folder}: {run.damage}")
        except ResultsError as error:
            unreadable.append(error)
    found.sort(key=lambda entry: (entry.started_at.timestamp(), entry.run_id))
    if as_json:
        print(runs_to_json(found), end="")
    elif found:
        print_runs(found, list_console())
    for failure in unreadable:
        complain(failure)
    if not found and not unreadable and not as_json:
        say(f"no run under {results}; `swapbench run quick` makes one")


def print_arms(
    run: "Run", form: str, margin: float | None, *, strict: bool, html: Path | None = None
) -> Exit:
    """Print a run of two arms as their comparison, or write it as a page; returns the exit code it means."""
    from swapbench.compare.comparison import compare_arms

    others = range(1, len(run.info.arms))
    compared = [compare_arms(run, margin, other) for other in others]
    return print_comparisons(compared, [run], form, strict=strict, html=html, options=margin_said(margin))


def print_comparisons(
    comparisons: "Sequence[Comparison]",
    runs: "Sequence[Run]",
    form: str,
    *,
    strict: bool,
    html: Path | None,
    options: Sequence[str],
) -> Exit:
    """Print comparisons, or write them as a page; returns the exit code that they mean."""
    from swapbench.compare.comparison import gravest
    from swapbench.report.comparison import show_comparisons
    from swapbench.report.console import make_console

    if html is None:
        show_comparisons(comparisons, form, make_console())
    else:
        write_comparisons(comparisons, runs, html, options)
    return gravest(comparisons, strict=strict)[1]


def margin_said(margin: float | None) -> list[str]:
    """A margin as it is said again on a command line."""
    return [] if margin is None else ["--margin", f"{margin:g}"]


def write_run(run: "Run", findings: "Findings", path: Path, options: Sequence[str]) -> None:
    """Write a run's page.

    Args:
        options: of `swapbench report`, by which it shows what it shows.

    Raises:
        UsageError: it can't be written there.
    """
    from swapbench.report.run import run_to_html

    again = f"swapbench report {quoted(run.folder)} {shlex.join([*options, '--html', path.name])}"
    _write(path, run_to_html(_view(run, findings), again))


def write_comparisons(
    comparisons: "Sequence[Comparison]", runs: "Sequence[Run]", path: Path, options: Sequence[str]
) -> None:
    """Write the page of comparisons of every other run with the first; or of the two arms of one.

    Args:
        options: of `swapbench compare`, by which it judges as it judges.

    Raises:
        UsageError: as `write_run`.
    """
    from swapbench.findings import analyse
    from swapbench.findings.runs import arms_of
    from swapbench.report.comparison import comparison_to_html
    from swapbench.run.capacity import limits_of

    sides = arms_of(runs[0]) if len(runs) == 1 else runs
    by = {s.scenario: s.figure for comparison in comparisons for s in comparison.scenarios}
    limits = [limits_of(side.info.models, side.info.machine) for side in sides]
    views = [_view(s, analyse(s, within), by) for s, within in zip(sides, limits, strict=True)]
    folders = " ".join(quoted(run.folder) for run in runs)
    again = f"swapbench compare {folders} {shlex.join([*options, '--html', path.name])}"
    _write(path, comparison_to_html(comparisons, views, again))


def _view(
    run: "Run", findings: "Findings", compared_by: "Mapping[str, HeadlineFigure] | None" = None
) -> "RunView":
    from swapbench.findings.chart_data import pictures_of
    from swapbench.report.sections.view import RunView
    from swapbench.store import raw_files

    return RunView(findings, pictures_of(run, findings, compared_by), raw_files(run.folder))


def _write(path: Path, text: str) -> None:
    from swapbench.base.figures import size
    from swapbench.base.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"--html {path}: can't be written: {error.strerror}") from None
    print(f"report: {path} ({size(path.stat().st_size)})")

"""`swapbench report`, `runs` and `compare`: runs looked at, one or several, printed or as a page."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swapbench.base.errors import Exit, ResultsError, UsageError
from swapbench.base.process import quoted
from swapbench.cli import completion
from swapbench.cli.options import Html, Json, Margin, Results, Strict, argument, option, refuse_page_and_form
from swapbench.cli.output import complain, say

if TYPE_CHECKING:
    from swapbench.base.phases import HeadlineFigure
    from swapbench.compare.comparison import Comparison
    from swapbench.findings import Findings
    from swapbench.findings.runs import RunOutline
    from swapbench.report.sections import RunView
    from swapbench.store import Run


def report(
    run: Annotated[
        str | None,
        argument(
            "RUN",
            "A run's id or folder, or an experiment for its latest run. Default: the latest run.",
            completion.runs_and_experiments,
        ),
    ] = None,
    form: Annotated[
        Literal["rich", "md", "json", "trace"],
        typer.Option("--format", help="rich for a terminal, md, json, or trace for Perfetto."),
    ] = "rich",
    strategy: Annotated[
        str | None,
        option("NAME", "Show only this strategy of several, phase by phase.", completion.strategies),
    ] = None,
    arm: Annotated[
        str | None, option("NAME", "Show only this arm of a comparison: A, B, C ...", completion.arms)
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
    folder = resolve(results, run)
    raise typer.Exit(print_run(folder, form, strict=strict, strategy=strategy, arm=arm, html=html))


def print_run(
    folder: Path,
    form: str,
    margin: float | None = None,
    *,
    strict: bool,
    strategy: str | None = None,
    arm: str | None = None,
    html: Path | None = None,
) -> Exit:
    """Print a run's report on standard output, or write it as a page; returns the exit code that it means.

    Args:
        margin: of a comparison, where the run has two arms.

    Raises:
        ResultsError: the folder holds no run, or one this swapbench can't read.
        UsageError: the run has no such strategy, or no such arm.
    """
    from swapbench.findings import analyse, exit_code
    from swapbench.findings.runs import arm_of, only
    from swapbench.report.console import make_console
    from swapbench.report.forms import run_to_html, show
    from swapbench.run.capacity import limits_of
    from swapbench.store import read

    if form == "trace" and sys.stdout.isatty():
        raise UsageError(
            "a trace is for Perfetto, not for a terminal; write it to a file: "
            f"swapbench report {quoted(folder)} --format trace > trace.json"
        )
    run = read(folder)
    if arm is not None:
        run = arm_of(run, arm)
    if strategy is not None:
        if run.info.arms:
            raise UsageError("--strategy: this run compares arms; name one of them, too: --arm A")
        run = only(run, strategy)
    if form == "trace":
        from swapbench.findings.timeline import timeline_of
        from swapbench.report.trace import to_trace

        sys.stdout.write(to_trace(run.info, timeline_of(run)))
    if run.info.arms:
        return Exit.OK if form == "trace" else _print_arms(run, form, margin, strict=strict, html=html)
    # A run from before `swapbench probe` was first run here can still be set against its limits.
    findings = analyse(run, limits_of(run.info.models, run.info.machine))
    if html is not None:
        chosen = {"--arm": arm, "--strategy": strategy}
        options = [word for name, value in chosen.items() if value is not None for word in (name, value)]
        again = f"swapbench report {quoted(run.folder)} {shlex.join([*options, '--html', html.name])}"
        _write(html, run_to_html(_view(run, findings), again))
    elif form != "trace":
        show(findings, form, make_console())
    return exit_code(findings, strict)


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


def compare(
    runs: Annotated[
        list[str],
        argument(
            "RUN",
            "Runs: ids, folders, or experiments for their latest run; or one A/B run.",
            completion.runs_and_experiments,
        ),
    ],
    form: Annotated[
        Literal["rich", "md", "json"], typer.Option("--format", help="rich for a terminal, md or json.")
    ] = "rich",
    margin: Margin = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Show what can't be compared, without verdicts.")
    ] = False,
    strict: Strict = False,
    html: Html = None,
    results: Results = Path("results"),
) -> None:
    """Compare runs with the first one.

    Separate runs also differ by what else the machine did. To decide whether something is slower, measure
    both in one run: `swapbench ab`.

    \b
    Examples:
      swapbench compare 20260125T101500Z-hub 20260126T090000Z-hub
      swapbench compare results/exp012/A results/exp012/B results/exp012/C --format md
      swapbench compare results/exp012/A results/exp012/B --html ab.html
      swapbench compare 20260127T080000Z-mini            (a run of `swapbench ab`: its two arms)

    Exit codes: 0 fine, 2 usage, or runs that can't be compared, 3 slower, 5 a leak,
    6 inconclusive (--strict), or a run whose tables were changed, 7 a swap failed.
    """
    from swapbench.compare.comparison import Side, compare_runs
    from swapbench.store import read_whole, resolve

    refuse_page_and_form(html, form)
    first, *others = found = [read_whole(resolve(results, name)) for name in runs]
    if not others and first.info.arms:
        raise typer.Exit(_print_arms(first, form, margin, strict=strict, html=html))
    if not others:
        raise UsageError(
            f"{runs[0]}: nothing to compare it with; name two runs or more, or a run of `swapbench ab`; "
            "`swapbench runs` shows them"
        )
    for run in found:
        if run.info.arms:
            raise UsageError(f"{run.folder}: has two arms; `swapbench compare {run.folder}` compares them")
    for run in others:
        if run.folder.resolve() == first.folder.resolve():
            raise UsageError(f"{run.folder}: is compared with itself; name another run")
    one, *sides = (Side(run.info.run_id, run) for run in found)
    comparisons = [compare_runs(one, side, margin) for side in sides]
    unlike = next((c for c in comparisons if not c.comparable), None)
    if unlike is not None and not anyway:
        reasons = "; ".join(d.describe() for d in unlike.differences if d.decisive)
        raise UsageError(
            f"{unlike.a.run_id} and {unlike.b.run_id} can't be compared: {reasons}; "
            "--anyway shows them side by side"
        )
    options = [*_said(margin), *(["--anyway"] if anyway else [])]
    raise typer.Exit(_print_comparisons(comparisons, found, form, options, strict=strict, html=html))


def _print_arms(run: "Run", form: str, margin: float | None, *, strict: bool, html: Path | None) -> Exit:
    from swapbench.compare.comparison import compare_arms

    compared = [compare_arms(run, margin, other) for other in range(1, len(run.info.arms))]
    return _print_comparisons(compared, [run], form, _said(margin), strict=strict, html=html)


def _said(margin: float | None) -> list[str]:
    return [] if margin is None else ["--margin", f"{margin:g}"]


def _print_comparisons(
    comparisons: "Sequence[Comparison]",
    runs: "Sequence[Run]",
    form: str,
    options: Sequence[str],
    *,
    strict: bool,
    html: Path | None,
) -> Exit:
    """Comparisons of every other run with the first, or of the arms of one.

    Args:
        options: of `swapbench compare`, by which it judges as it judges.
    """
    from swapbench.compare.comparison import gravest
    from swapbench.findings import analyse
    from swapbench.findings.runs import arms_of
    from swapbench.report.console import make_console
    from swapbench.report.forms import comparison_to_html, show_comparisons
    from swapbench.run.capacity import limits_of

    if html is None:
        show_comparisons(comparisons, form, make_console())
    else:
        by = {s.scenario: s.figure for comparison in comparisons for s in comparison.scenarios}
        sides = arms_of(runs[0]) if len(runs) == 1 else runs
        findings = [analyse(side, limits_of(side.info.models, side.info.machine)) for side in sides]
        views = [_view(side, found, by) for side, found in zip(sides, findings, strict=True)]
        folders = " ".join(quoted(run.folder) for run in runs)
        again = f"swapbench compare {folders} {shlex.join([*options, '--html', html.name])}"
        _write(html, comparison_to_html(comparisons, views, again))
    return gravest(comparisons, strict=strict)[1]


def _view(
    run: "Run", findings: "Findings", compared_by: "Mapping[str, HeadlineFigure] | None" = None
) -> "RunView":
    from swapbench.findings.chart_data import pictures_of
    from swapbench.report.sections import RunView
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

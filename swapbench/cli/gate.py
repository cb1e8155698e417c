"""`swapbench gate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swapbench.base.errors import UsageError, one_line
from swapbench.cli import completion
from swapbench.cli.options import (
    Experiment,
    Margin,
    Models,
    Out,
    PageCache,
    Quiet,
    Settings,
    Verbose,
    command_line,
    interpreter_of,
    overrides_of,
)
from swapbench.cli.output import complain, say

if TYPE_CHECKING:
    from swapbench.compare.gate import Gate
    from swapbench.run.gate import Asking
    from swapbench.run.runner import Job
    from swapbench.store import Run


def _reports(ctx: typer.Context, reports: Path | None) -> Path | None:
    """Looked at before anything is measured.

    Raises:
        UsageError: nothing can be kept there.
    """
    from swapbench.base.files import why_no_folder

    if reports is not None and not ctx.resilient_parsing and (why := why_no_folder(reports)):
        raise UsageError(f"--reports {reports}: can't be written: {why}; choose another place")
    return reports


def gate(
    experiment: Experiment,
    base: Annotated[
        str | None, typer.Option("--base", metavar="REF", help="Compare with the merge base of HEAD and REF.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Compare with the runs of this baseline.",
            autocompletion=completion.baselines,
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="Interpreter that runs the change. Default: this one."),
    ] = None,
    build: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Builds the base's .venv. Default: uv or pip.")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", min=6, help="Rounds of each side. Default: gate.pairs.")
    ] = None,
    margin: Margin = None,
    models: Models = None,
    page_cache: PageCache = None,
    set_: Settings = None,
    on_inconclusive: Annotated[
        Literal["warn", "fail"],
        typer.Option(help="If the verdict is inconclusive, warn exits with 0, fail with 6."),
    ] = "warn",
    out: Out = Path("results"),
    reports: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for gate.json, gate.md and gate.xml. Default: the run's.",
            callback=_reports,
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
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
    from swapbench.compare.gate import exit_code
    from swapbench.run.gate import Asking
    from swapbench.spec.experiment import find

    if (base is None) == (baseline is None):
        raise UsageError("give either --base REF (a commit or branch) or --baseline NAME")
    if baseline is not None and (pairs is not None or build is not None):
        raise UsageError(
            "--pairs and --build go with --base: with --baseline the experiment runs alone, for its own "
            "rounds (--set rounds=10)"
        )
    asking = Asking(
        file=find(experiment),
        settings=overrides_of(models, None, None, page_cache, set_ or []),
        pairs=pairs,
        margin=margin,
        python=interpreter_of(python),
        out=out,
        command=command_line(),
        carry=lambda job: _carried(job, quiet=quiet, verbose=verbose, json=json),
        say=say,
    )
    judged = _judged(asking, base, baseline, build, trusted=python is not None)
    _tell(judged, reports or Path(judged.runs[0]), json=json)
    raise typer.Exit(exit_code(judged, fail_inconclusive=on_inconclusive == "fail"))


def _judged(
    asking: "Asking", base: str | None, baseline: str | None, build: str | None, *, trusted: bool
) -> "Gate":
    from swapbench.compare.history import History, baseline_folder, experiments_in, read_history
    from swapbench.run.gate import gate_on_base, gate_on_history

    if base is not None:
        return gate_on_base(asking, base, build, trusted=trusted)
    assert baseline is not None
    # That there is none is told before anything is measured.
    kept, name = baseline_folder(asking.out, baseline), asking.file.stem
    past = read_history([kept], name) if name in experiments_in(kept) else History(name, 0, (), ())
    return gate_on_history(asking, baseline, past)


def _carried(job: "Job", *, quiet: bool, verbose: bool, json: bool) -> "Run":
    from swapbench.cli.progress import carry_out_watched
    from swapbench.store import read

    # The base is gone once the gate has ended, and a gate is judged in one go.
    carry_out_watched(job, quiet=quiet, verbose=verbose, json=json, resumable=False, sides=sides_of(job))
    return read(job.writer.folder)


def sides_of(job: "Job") -> dict[str, str]:
    """What a gate calls the arms of a job: it measures the change alone, too, and that has no name."""
    return (
        dict(zip((arm.name for arm in job.arms), ("base", "change"), strict=True))
        if len(job.arms) > 1
        else {}
    )


def _tell(judged: "Gate", folder: Path, *, json: bool) -> None:
    """Everything is on disk before anything is printed."""
    import os
    import sys

    from swapbench.report.console import make_console
    from swapbench.report.gate import annotations, print_gate, to_json, to_markdown, write_reports

    write_reports(judged, folder)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _summarise(to_markdown(judged), Path(summary))
    if json:
        print(to_json(judged), end="")
    else:
        print_gate(judged, make_console())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(judged):
            print(line, file=sys.stderr if json else sys.stdout)
    say(one_line(f"reports: {folder}/gate.json, gate.md, gate.xml"))


def _summarise(text: str, summary: Path) -> None:
    """Nothing is lost where a CI system's page has no room: the reports have it all."""
    try:
        with summary.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        complain(f"{summary}: {error.strerror}; GITHUB_STEP_SUMMARY has no room for this gate's summary")

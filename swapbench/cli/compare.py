"""`swapbench compare` and `swapbench ab`: two things side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swapbench.base.errors import UsageError, one_line
from swapbench.cli import completion
from swapbench.cli.options import (
    Experiment,
    FailFast,
    Html,
    Margin,
    Models,
    Out,
    PageCache,
    Quiet,
    Results,
    Strict,
    Verbose,
    command_line,
    overrides_of,
    refuse_page_and_form,
)
from swapbench.cli.output import say
from swapbench.cli.report import margin_said, print_arms, print_comparisons
from swapbench.spec.overrides import sets, short_for

if TYPE_CHECKING:
    from swapbench.compare.comparison import Comparison
    from swapbench.run.arms import Asked
    from swapbench.store import Run

Format = Literal["rich", "md", "json"]
# As plan.PairOrder, which `--help` would have to load pydantic for.
Order = Literal["abba", "random"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Runs: ids, folders, or experiments for their latest run; or one A/B run.",
            autocompletion=completion.runs_and_experiments,
        ),
    ],
    form: Annotated[Format, typer.Option("--format", help="rich for a terminal, md or json.")] = "rich",
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
    from swapbench.store import read_whole, resolve

    refuse_page_and_form(html, form)
    found = [read_whole(resolve(results, name)) for name in runs]
    if len(found) == 1 and found[0].info.arms:
        raise typer.Exit(print_arms(found[0], form, margin, strict=strict, html=html))
    if len(found) == 1:
        raise UsageError(
            f"{runs[0]}: nothing to compare it with; name two runs or more, or a run of `swapbench ab`; "
            "`swapbench runs` shows them"
        )
    comparisons = _compared(found, margin, anyway=anyway)
    options = [*margin_said(margin), *(["--anyway"] if anyway else [])]
    raise typer.Exit(print_comparisons(comparisons, found, form, strict=strict, html=html, options=options))


def _compared(runs: "Sequence[Run]", margin: float | None, *, anyway: bool) -> "list[Comparison]":
    from swapbench.compare.comparison import Side, compare_runs

    for run in runs:
        if run.info.arms:
            raise UsageError(f"{run.folder}: has two arms; `swapbench compare {run.folder}` compares them")
    for run in runs[1:]:
        if run.folder.resolve() == runs[0].folder.resolve():
            raise UsageError(f"{run.folder}: is compared with itself; name another run")
    sides = [Side(run.info.run_id, run) for run in runs]
    comparisons = [compare_runs(sides[0], side, margin) for side in sides[1:]]
    unlike = [c for c in comparisons if not c.comparable]
    if unlike and not anyway:
        reasons = "; ".join(d.describe() for d in unlike[0].differences if d.decisive)
        raise UsageError(
            f"{unlike[0].a.run_id} and {unlike[0].b.run_id} can't be compared: {reasons}; "
            "--anyway shows them side by side"
        )
    return comparisons


def ab(
    experiment: Experiment,
    a: Annotated[Path | None, typer.Option("--a", metavar="PYTHON", help="Python interpreter of A.")] = None,
    b: Annotated[Path | None, typer.Option("--b", metavar="PYTHON", help="Python interpreter of B.")] = None,
    a_set: Annotated[
        list[str] | None,
        typer.Option(
            "--a-set",
            metavar="KEY=VALUE",
            help="Override any key for A only; repeatable.",
            autocompletion=completion.settings,
        ),
    ] = None,
    b_set: Annotated[
        list[str] | None,
        typer.Option(
            "--b-set",
            metavar="KEY=VALUE",
            help="Override any key for B only; repeatable.",
            autocompletion=completion.settings,
        ),
    ] = None,
    aa: Annotated[
        bool, typer.Option("--aa", help="Compare the same thing twice, to measure the noise.")
    ] = False,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", min=6, help="Rounds of each arm. Default: gate.pairs.")
    ] = None,
    order: Annotated[Order, typer.Option(help="abba: A and B take turns; or random.")] = "abba",
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of a random order.")] = None,
    margin: Margin = None,
    models: Models = None,
    page_cache: PageCache = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override any key for both; repeatable.",
            autocompletion=completion.settings,
        ),
    ] = None,
    out: Out = Path("results"),
    fail_fast: FailFast = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two variants in one run, in turn: A B, B A, A B ...

    Each turn is one round in its own process, from the same page-cache state.

    \b
    Examples:
      swapbench ab exp012 --a-set strategy=stock --b-set strategy=auto --models synthetic
      swapbench ab exp012 --a ./mlx-0.32/bin/python --b ./mlx-0.33/bin/python
      swapbench ab quick --aa --pairs 20

    Exit codes: 0 fine, 2 usage, 3 B is slower, 5 B leaks, 6 inconclusive (--strict), 7 a swap failed,
    130 interrupted.
    """
    from swapbench.cli.progress import carry_out_watched
    from swapbench.run.arms import make_arms, refuse_equal, refuse_too_few_pairs
    from swapbench.run.runner import new_paired_job
    from swapbench.spec.experiment import find
    from swapbench.store import read

    asked = _asked(a, b, a_set or [], b_set or [], aa=aa)
    file = find(experiment)
    common = overrides_of(models, None, None, page_cache, set_ or [])
    common += short_for("seed", "--seed", seed)
    arms = make_arms(file, common, asked, pairs, say)
    refuse_too_few_pairs(arms)
    if not aa:
        refuse_equal(arms)
    job = new_paired_job(
        arms,
        file,
        out,
        command=command_line(),
        order=order,
        fail_fast=fail_fast,
        alone=strict,
    )
    carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    code = print_arms(read(job.writer.folder), "json" if json else "rich", margin, strict=strict)
    if not json:
        say(one_line(f"results: {job.writer.folder}"))
    raise typer.Exit(code)


def _asked(
    a: Path | None, b: Path | None, a_set: Sequence[str], b_set: Sequence[str], *, aa: bool
) -> "tuple[Asked, Asked]":
    """Both arms' settings and interpreters; they have to differ, except under --aa.

    Raises:
        UsageError: the arms don't differ, or differ under --aa.
    """
    import sys

    from swapbench.run.arms import Asked

    differ = bool(a or b or a_set or b_set)
    if aa and differ:
        raise UsageError("--aa compares a thing with itself: leave out --a, --b, --a-set and --b-set")
    if not aa and not differ:
        raise UsageError(
            "nothing to compare; give interpreters by --a and --b, settings by --a-set and --b-set, "
            "or --aa to measure the noise"
        )
    one, other = (
        Asked(
            str(python or sys.executable),
            tuple(sets(settings, option)),
            ", ".join([*([str(python)] if python else []), *settings]),
        )
        for python, settings, option in ((a, a_set, "--a-set"), (b, b_set, "--b-set"))
    )
    return one, other

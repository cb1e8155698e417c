"""`swapbench run`."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swapbench.base.errors import IncomparableError, UsageError, one_line
from swapbench.cli import completion
from swapbench.cli.options import (
    FailFast,
    Models,
    Out,
    PageCache,
    Quiet,
    Settings,
    Strict,
    Verbose,
    command_line,
    interpreter_of,
    overrides_of,
)
from swapbench.cli.output import say
from swapbench.spec.overrides import Override, short_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swapbench.run.runner import Job


def run(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="An experiment's name, or a TOML file.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    models: Models = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", help="Counted rounds.")] = None,
    warmup: Annotated[
        int | None, typer.Option(metavar="N", help="Warm-up rounds before, left out of statistics.")
    ] = None,
    page_cache: PageCache = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="Strategy to swap by; repeat to compare several.",
            autocompletion=completion.strategies,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="System to measure: a name from `swapbench targets`, a TOML file or URL; repeatable.",
            autocompletion=completion.targets,
        ),
    ] = None,
    hosts: Annotated[
        int | None, typer.Option("--hosts", metavar="N", help="Ranks of a sharded target, on this machine.")
    ] = None,
    hostfile: Annotated[
        Path | None,
        typer.Option(
            "--hostfile", metavar="FILE", help="Machines of a sharded target, as mlx.launch takes them."
        ),
    ] = None,
    set_: Settings = None,
    out: Out = Path("results"),
    python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="Run the worker with this interpreter and its packages."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Resume an interrupted run.",
            autocompletion=completion.runs,
        ),
    ] = None,
    fail_fast: FailFast = False,
    strict: Strict = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run an experiment, write its results, and report.

    \b
    Examples:
      swapbench run quick
      swapbench run exp012 --models mini --rounds 3
      swapbench run exp012 --models synthetic --page-cache cold --set first_token=false
      swapbench run exp012 --models synthetic --strategy stock --strategy map
      swapbench run quick --target mlx_lm
      swapbench run quick --target mlx_lm --target inprocess     (in turn, and compared)
      swapbench run exp012-sharded --hosts 2
      swapbench run --resume 20260125T101500Z-hub

    Exit codes: 0 fine, 2 usage, 4 target missed, 5 leak, 6 inconclusive (--strict),
    7 a swap failed, 130 interrupted.
    """
    from swapbench.cli.progress import carry_out_watched
    from swapbench.cli.report import print_run

    targets, strategies = target or [], tuple(strategy or ())
    overrides = [
        *overrides_of(
            models, rounds, warmup, page_cache, set_ or [], targets[0] if len(targets) == 1 else None
        ),
        *short_for("sharded.ranks", "--hosts", hosts),
        *short_for("sharded.hostfile", "--hostfile", None if hostfile is None else hostfile.absolute()),
    ]
    if len(targets) > 1:
        if experiment is None or resume is not None:
            raise UsageError("several targets are compared in a new run; name its experiment")
        if strategies:
            raise UsageError(
                "--strategy compares strategies of one target, --target compares targets: "
                "choose one strategy by --set strategy=NAME"
            )
        job = _of_several(experiment, overrides, targets, out, python, fail_fast=fail_fast, alone=strict)
    elif resume is not None:
        if experiment is not None or overrides or strategies:
            raise UsageError(
                "--resume continues a run with its own settings; leave out the experiment and its options"
            )
        job = _resumed(resume, out, python, fail_fast=fail_fast, alone=strict)
    elif experiment is None:
        raise UsageError(
            "which experiment? `swapbench list` shows them; `swapbench run quick` is the shortest"
        )
    else:
        job = _new(experiment, overrides, strategies, out, python, fail_fast=fail_fast, alone=strict)
    carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    code = print_run(job.writer.folder, "json" if json else "rich", strict=strict)
    if not json:
        say(one_line(f"results: {job.writer.folder}"))
    raise typer.Exit(code)


def _new(
    name: str,
    overrides: list[Override],
    strategies: tuple[str, ...],
    out: Path,
    python: Path | None,
    *,
    fail_fast: bool,
    alone: bool,
) -> "Job":
    from swapbench.run.arms import checkpoints_of, refuse_unfit
    from swapbench.run.runner import new_job
    from swapbench.spec import experiment as experiments
    from swapbench.spec.hostfile import read as read_hostfile

    file = experiments.find(name)
    experiment = experiments.with_strategies(experiments.load(file, overrides), strategies)
    sharded = experiment.sharding()
    if sharded is not None and sharded.hostfile:
        read_hostfile(Path(sharded.hostfile))
    interpreter = interpreter_of(python)
    with _nothing_compared():
        refuse_unfit(interpreter, experiment.target)
    return new_job(
        experiment,
        file,
        checkpoints_of(experiment, say, interpreter),
        out,
        command=command_line(),
        python=interpreter,
        fail_fast=fail_fast,
        alone=alone,
    )


def _resumed(run: str, out: Path, python: Path | None, *, fail_fast: bool, alone: bool) -> "Job":
    from swapbench.run.runner import resumed_job
    from swapbench.store import resolve

    named = None if python is None else interpreter_of(python)
    with _nothing_compared():
        return resumed_job(resolve(out, run), python=named, fail_fast=fail_fast, alone=alone)


def _of_several(
    name: str,
    overrides: list[Override],
    targets: list[str],
    out: Path,
    python: Path | None,
    *,
    fail_fast: bool,
    alone: bool,
) -> "Job":
    """A run of several targets, in turn."""
    from swapbench.run.arms import Asked, make_arms
    from swapbench.run.runner import new_paired_job
    from swapbench.spec import experiment as experiments

    file = experiments.find(name)
    rounds = experiments.load(file, overrides).rounds
    interpreter = interpreter_of(python)
    asked = [Asked(interpreter, tuple(short_for("target", "--target", target)), target) for target in targets]
    arms = make_arms(file, overrides, asked, rounds, say)
    return new_paired_job(arms, file, out, command=command_line(), fail_fast=fail_fast, alone=alone)


@contextmanager
def _nothing_compared() -> "Iterator[None]":
    """An interpreter of another version is as little use here as none."""
    try:
        yield
    except IncomparableError as error:
        raise UsageError(str(error)) from None

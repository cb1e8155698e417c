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
    Strict,
    Verbose,
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
    rounds: Annotated[int | None, typer.Option(metavar="N", help="Rounds that count.")] = None,
    warmup: Annotated[
        int | None, typer.Option(metavar="N", help="Rounds before, left out of statistics.")
    ] = None,
    page_cache: PageCache = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="How to swap; repeatable, to compare.",
            autocompletion=completion.strategies,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="What swaps: a name from `swapbench targets`, a TOML file or URL; repeatable.",
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
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override any key: --set workload.agents=4; repeatable.",
            autocompletion=completion.settings,
        ),
    ] = None,
    out: Out = Path("results"),
    python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="Run the worker with this interpreter, on what it has."),
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

    targets = target or []
    overrides = [
        *overrides_of(
            models, rounds, warmup, page_cache, set_ or [], targets[0] if len(targets) == 1 else None
        ),
        *short_for("sharded.ranks", "--hosts", hosts),
        *short_for("sharded.hostfile", "--hostfile", None if hostfile is None else hostfile.absolute()),
    ]
    if len(targets) > 1:
        job = _comparing_job(
            experiment, resume, overrides, targets, strategy or [], out, python, fail_fast, strict
        )
    else:
        job = _job(experiment, resume, overrides, tuple(strategy or ()), out, python, fail_fast, strict)
    carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    _report(job.writer.folder, json=json, strict=strict)


def _job(
    name: str | None,
    resume: str | None,
    overrides: list[Override],
    strategies: tuple[str, ...],
    out: Path,
    python: Path | None,
    fail_fast: bool,
    strict: bool,
) -> "Job":
    import sys

    from swapbench.run.arms import checkpoints_of, refuse_unfit
    from swapbench.run.runner import new_job, resumed_job
    from swapbench.spec import experiment as experiments
    from swapbench.spec.hostfile import read as read_hostfile
    from swapbench.store import resolve

    if resume is not None:
        if name is not None or overrides or strategies:
            raise UsageError(
                "--resume goes on with a run as it was: leave the experiment and its options out"
            )
        named = None if python is None else interpreter_of(python)
        with _nothing_compared():
            return resumed_job(resolve(out, resume), python=named, fail_fast=fail_fast, alone=strict)
    if name is None:
        raise UsageError(
            "which experiment? `swapbench list` shows them; `swapbench run quick` is the shortest"
        )
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
        command=["swapbench", *sys.argv[1:]],
        python=interpreter,
        fail_fast=fail_fast,
        alone=strict,
    )


@contextmanager
def _nothing_compared() -> "Iterator[None]":
    """An interpreter of another version is as little use here as none."""
    try:
        yield
    except IncomparableError as error:
        raise UsageError(str(error)) from None


def _comparing_job(
    name: str | None,
    resume: str | None,
    overrides: list[Override],
    targets: list[str],
    strategies: list[str],
    out: Path,
    python: Path | None,
    fail_fast: bool,
    strict: bool,
) -> "Job":
    """A run of several targets, in turn."""
    import sys

    from swapbench.run.arms import Asked, make_arms
    from swapbench.run.runner import new_paired_job
    from swapbench.spec import experiment as experiments

    if name is None or resume is not None:
        raise UsageError("several targets are compared in a new run of an experiment: name it")
    if strategies:
        raise UsageError(
            "--strategy compares ways of one target, --target several: choose one way by --set strategy=NAME"
        )
    file = experiments.find(name)
    rounds = experiments.load(file, overrides).rounds
    interpreter = interpreter_of(python)
    asked = [Asked(interpreter, tuple(short_for("target", "--target", target)), target) for target in targets]
    arms = make_arms(file, overrides, asked, rounds, say)
    command = ["swapbench", *sys.argv[1:]]
    return new_paired_job(arms, file, out, command=command, fail_fast=fail_fast, alone=strict)


def _report(folder: Path, *, json: bool, strict: bool) -> None:
    from swapbench.cli.report import print_run

    code = print_run(folder, "json" if json else "rich", strict=strict)
    if not json:
        say(one_line(f"results: {folder}"))
    raise typer.Exit(code)

"""`swapbench run` and `swapbench ab`: experiments carried out, and what they found."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from swapbench.base.errors import IncomparableError, UsageError, one_line
from swapbench.cli import completion, options
from swapbench.cli.options import argument, command_line, interpreter_of, option, overrides_of
from swapbench.cli.output import say
from swapbench.cli.report import print_run
from swapbench.spec.overrides import Override, sets, short_for

if TYPE_CHECKING:
    from swapbench.run.runner import Job

# As plan.PairOrder, which `--help` would have to load pydantic for.
Order = Literal["abba", "random"]


def run(
    experiment: Annotated[
        str | None,
        argument("EXPERIMENT", "An experiment's name, or a TOML file.", completion.experiments),
    ] = None,
    models: options.Models = None,
    rounds: Annotated[int | None, option("N", "Counted rounds.")] = None,
    warmup: Annotated[int | None, option("N", "Warm-up rounds before, left out of statistics.")] = None,
    page_cache: options.PageCache = None,
    strategy: Annotated[
        list[str] | None,
        option("NAME", "Strategy to swap by; repeat to compare several.", completion.strategies),
    ] = None,
    target: Annotated[
        list[str] | None,
        option(
            "TARGET",
            "System to measure: a name from `swapbench targets`, a TOML file or URL; repeatable.",
            completion.targets,
        ),
    ] = None,
    hosts: Annotated[int | None, option("N", "Ranks of a sharded target, on this machine.")] = None,
    hostfile: Annotated[
        Path | None, option("FILE", "Machines of a sharded target, as mlx.launch takes them.")
    ] = None,
    set_: options.Settings = None,
    out: options.Out = Path("results"),
    python: Annotated[
        Path | None, option("PYTHON", "Run the worker with this interpreter and its packages.")
    ] = None,
    resume: Annotated[str | None, option("RUN", "Resume an interrupted run.", completion.runs)] = None,
    fail_fast: options.FailFast = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
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
    targets, strategies = target or [], tuple(strategy or ())
    overrides = overrides_of(
        set_,
        {
            "--models": models,
            "--rounds": rounds,
            "--warmup": warmup,
            "--page-cache": page_cache,
            "--target": targets[0] if len(targets) == 1 else None,
            "--hosts": hosts,
            "--hostfile": None if hostfile is None else hostfile.absolute(),
        },
    )
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
    _carry_out(job, None, strict=strict, quiet=quiet, verbose=verbose, json=json)


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
    from swapbench.spec.experiment import find, load, with_strategies
    from swapbench.spec.experiment.tables import read_hostfile

    file = find(name)
    experiment = with_strategies(load(file, overrides), strategies)
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


@contextmanager
def _nothing_compared() -> Iterator[None]:
    """An interpreter of another version is as little use here as none."""
    try:
        yield
    except IncomparableError as error:
        raise UsageError(str(error)) from None


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
    from swapbench.spec.experiment import find, load

    file, interpreter = find(name), interpreter_of(python)
    asked = [Asked(interpreter, tuple(short_for("target", "--target", target)), target) for target in targets]
    arms = make_arms(file, overrides, asked, load(file, overrides).rounds, say)
    return new_paired_job(arms, file, out, command=command_line(), fail_fast=fail_fast, alone=alone)


def ab(
    experiment: options.Experiment,
    a: Annotated[Path | None, option("PYTHON", "Python interpreter of A.")] = None,
    b: Annotated[Path | None, option("PYTHON", "Python interpreter of B.")] = None,
    a_set: Annotated[
        list[str] | None,
        option("KEY=VALUE", "Override any key for A only; repeatable.", completion.settings),
    ] = None,
    b_set: Annotated[
        list[str] | None,
        option("KEY=VALUE", "Override any key for B only; repeatable.", completion.settings),
    ] = None,
    aa: Annotated[
        bool, typer.Option("--aa", help="Compare the same thing twice, to measure the noise.")
    ] = False,
    pairs: Annotated[int | None, option("N", "Rounds of each arm. Default: gate.pairs.", min=6)] = None,
    order: Annotated[Order, typer.Option(help="abba: A and B take turns; or random.")] = "abba",
    seed: Annotated[int | None, option("N", "Seed of a random order.")] = None,
    margin: options.Margin = None,
    models: options.Models = None,
    page_cache: options.PageCache = None,
    set_: Annotated[
        list[str] | None,
        option("KEY=VALUE", "Override any key for both; repeatable.", completion.settings, "--set"),
    ] = None,
    out: options.Out = Path("results"),
    fail_fast: options.FailFast = False,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
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
    from swapbench.run.arms import Asked, make_arms, refuse_equal, refuse_too_few_pairs
    from swapbench.run.runner import new_paired_job
    from swapbench.spec.experiment import find

    differ = bool(a or b or a_set or b_set)
    if aa and differ:
        raise UsageError("--aa compares a thing with itself: leave out --a, --b, --a-set and --b-set")
    if not aa and not differ:
        raise UsageError(
            "nothing to compare; give interpreters by --a and --b, settings by --a-set and --b-set, "
            "or --aa to measure the noise"
        )
    asked = [
        Asked(
            interpreter_of(python),
            tuple(sets(own, name)),
            ", ".join([*([str(python)] if python else []), *own]),
        )
        for python, own, name in ((a, a_set or [], "--a-set"), (b, b_set or [], "--b-set"))
    ]
    file = find(experiment)
    common = overrides_of(set_, {"--models": models, "--page-cache": page_cache, "--seed": seed})
    arms = make_arms(file, common, asked, pairs, say)
    refuse_too_few_pairs(arms)
    if not aa:
        refuse_equal(arms)
    job = new_paired_job(
        arms, file, out, command=command_line(), order=order, fail_fast=fail_fast, alone=strict
    )
    _carry_out(job, margin, strict=strict, quiet=quiet, verbose=verbose, json=json)


def _carry_out(
    job: "Job", margin: float | None, *, strict: bool, quiet: bool, verbose: bool, json: bool
) -> NoReturn:
    """Carry a run out under the user's eyes, report, and exit as the report says."""
    from swapbench.cli.progress import carry_out_watched

    carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    code = print_run(job.writer.folder, "json" if json else "rich", margin, strict=strict)
    if not json:
        say(one_line(f"results: {job.writer.folder}"))
    raise typer.Exit(code)

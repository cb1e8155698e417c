"""A run under the user's eyes: a live view on a terminal, plain lines elsewhere, or nobody watching."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TextIO

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from swapbench.base.interrupts import exit_code, in_words
from swapbench.base.process import quoted
from swapbench.cli.output import complain, say
from swapbench.findings.progress import Course, RunProgress
from swapbench.machine import mac
from swapbench.report.console import PlainConsole
from swapbench.report.layout import plain
from swapbench.report.live import explanations, live_lines, opening, swap_line
from swapbench.run import runner
from swapbench.run.runner import Job, Observer
from swapbench.wire.events import Event, Note, RoundStarted, WorkerReady
from swapbench.wire.plan import schedule
from swapbench.wire.swap import SwapEvent, SwapFinished

# Drawing takes a millisecond or two, and whoever draws takes them from what is measured.
_DRAWINGS_PER_S = 2
_DUMB = ("dumb", "unknown")


class Silent:
    """Shows nothing."""

    def on(self, event: Event) -> None: ...

    def say(self, text: str) -> None: ...


class PlainLines:
    """One line per round and per swap: for logs and CI."""

    def __init__(self, course: Course, out: TextIO) -> None:
        self._course = course
        self._out = out
        self._worker = ""

    def on(self, event: Event) -> None:
        match event:
            case WorkerReady():
                versions = ", ".join(f"{name} {number}" for name, number in event.versions.items())
                worker = f"{event.device}, {event.python}" + (versions and f", {versions}")
                # Where each strategy has a worker of its own, they differ only by number.
                if worker != self._worker:
                    self.say(f"worker {event.pid}: {worker}")
                self._worker = worker
            case RoundStarted():
                self.say(self._course.round_title(event.swap))
            case SwapFinished():
                self.say(f"  {swap_line(event)}")
            case Note():
                self.say(f"note: {event.text}")

    def say(self, text: str) -> None:
        print(plain(text), file=self._out, flush=True)


class LiveView:
    """Where the run is, redrawn; what went wrong scrolls by above, and stays."""

    def __init__(self, course: Course, console: Console) -> None:
        self._progress = RunProgress(course, time.monotonic())
        self._course = course
        self._console = console
        self._round = ""

    def on(self, event: Event) -> None:
        """Take note; the display is drawn a few times a second whatever happens."""
        self._progress.on(event, time.monotonic())
        match event:
            case RoundStarted():
                self._round = self._course.round_title(event.swap)
            case SwapFinished() if event.status != "ok" or not event.valid:
                self.say(f"{self._round}  {swap_line(event)}")
            case Note():
                self.say(f"note: {event.text}")

    def say(self, text: str) -> None:
        self._console.print(Text(plain(text)))

    def draw(self) -> Text:
        return live_lines(self._progress.standing(time.monotonic()), self._console.width)


class Explaining:
    """Says what is done and why, beside what another one shows."""

    def __init__(self, job: Job, course: Course, shown: Observer, say: Callable[[str], None]) -> None:
        self._experiments = {arm.name: arm.experiment for arm in job.arms}
        self._course = course
        self._shown = shown
        self._say = say
        for arm in job.arms:
            for line in opening(arm, course.label_of(arm.name)):
                say(line)

    def on(self, event: Event) -> None:
        """Explain it, then show it."""
        arm = event.swap.arm if isinstance(event, SwapEvent) else getattr(event, "arm", "")
        experiment = self._experiments.get(arm) or next(iter(self._experiments.values()))
        label = self._course.label_of(arm)
        for line in explanations(event, experiment, label, claims=self._course.claims):
            self._say(line)
        self._shown.on(event)


def course_of(job: Job, sides: Mapping[str, str] | None = None) -> Course:
    """What a job is going to do."""
    experiments = {arm.name: arm.experiment for arm in job.arms}
    swaps = tuple(
        (turn.arm, swap.round, turn.strategy, swap.scenario)
        for turn in job.turns()
        for swap in schedule(experiments[turn.arm], turn, job.done)
    )
    experiment = job.experiment
    return Course(
        name=job.writer.info.experiment_name,
        swaps=swaps,
        rounds=experiment.rounds + experiment.warmup,
        warmup=experiment.warmup,
        target_s=experiment.target_s,
        memory_bytes=job.writer.info.machine.usable_memory_bytes,
        sources=job.writer.info.sources(),
        several_strategies=len(experiment.strategy) > 1,
        arm_labels=sides,
    )


@contextmanager
def observing(
    job: Job, *, quiet: bool, verbose: bool = False, sides: Mapping[str, str] | None = None
) -> Iterator[Observer]:
    """The view that fits: standard error, since standard output is the report's."""
    course = course_of(job, sides)
    view: Silent | PlainLines | LiveView
    with ExitStack() as drawing:
        if quiet:
            view = Silent()
        elif is_watched(sys.stderr, os.environ):
            console = PlainConsole(stderr=True)
            view = LiveView(course, console)
            live = Live(
                get_renderable=view.draw, console=console, refresh_per_second=_DRAWINGS_PER_S, transient=True
            )
            drawing.enter_context(live)
        else:
            view = PlainLines(course, sys.stderr)
        yield Explaining(job, course, view, view.say) if verbose else view


def is_watched(out: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether somebody sits before a terminal that can redraw; CI systems give some jobs one, too."""
    redraws = out.isatty() and not environment.get("CI") and environment.get("TERM") not in _DUMB
    # In other encodings what it draws with takes more room than it counts on.
    return redraws and (out.encoding or "utf-8").lower().startswith("utf")


def carry_out_watched(
    job: Job,
    *,
    quiet: bool,
    verbose: bool = False,
    json: bool = False,
    resumable: bool = True,
    sides: Mapping[str, str] | None = None,
) -> None:
    """Carry a run out under the user's eyes; one who interrupts it is told how to go on, and typer exits.

    Args:
        json: whether the report is for a program: then nobody watches, unless `verbose` says so.
        resumable: whether what it needs is still there once this command has ended.
        sides: what its arms are called, where not by their names.
    """
    quiet = quiet or (json and not verbose)
    if not quiet:
        for check in job.writer.info.checks:
            if check.advice:
                say(f"note: {check.finding}: {check.advice}")
    if job.presence.others:
        say(f"warning: {runner.told_of(job.presence.others)}")
    try:
        with mac.kept_awake(), observing(job, quiet=quiet, verbose=verbose, sides=sides) as observer:
            runner.carry_out(job, observer)
    except KeyboardInterrupt as error:
        folder = job.writer.folder
        complain(f"{in_words(error)}; every finished swap is kept in {folder}")
        run = quoted(folder)
        resume = f"resume with `swapbench run --resume {run}`, " if resumable else ""
        say(f"{resume}see `swapbench report {run}`")
        raise typer.Exit(exit_code(error)) from None

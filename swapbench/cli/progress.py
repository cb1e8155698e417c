"""What a run shows while it goes on: a live line on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from swapbench.phases import Phase
from swapbench.results import RunInfo
from swapbench.runner import Observer
from swapbench.wire import (
    Event,
    MemorySample,
    Note,
    RoundStarted,
    StepStarted,
    SwapFinished,
    SwapStarted,
    TurnStarted,
    WorkerReady,
)


class Silent:
    """Shows nothing."""

    def on(self, event: Event) -> None:
        """Nothing."""


class PlainLines:
    """One line per round and per swap: for logs and CI."""

    def __init__(self, info: RunInfo, out: TextIO) -> None:
        self._title = _Title(info)
        self._out = out
        self._worker = ""

    def on(self, event: Event) -> None:
        """Print what is worth a line."""
        match event:
            case TurnStarted():
                self._title.begin(event)
            case WorkerReady():
                versions = ", ".join(f"{name} {number}" for name, number in event.versions.items())
                worker = f"{event.device}, {event.python}" + (versions and f", {versions}")
                # Where each strategy has a worker of its own, they differ only by number.
                if worker != self._worker:
                    self._say(f"worker {event.pid}: {worker}")
                self._worker = worker
            case RoundStarted():
                self._say(self._title.of(event))
            case SwapFinished():
                self._say(f"  {_swap_line(event)}")
            case Note():
                self._say(f"note: {event.text}")

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class LiveView:
    """Round, scenario, the current phase ticking, memory; finished swaps scroll by above."""

    def __init__(self, info: RunInfo, live: Live) -> None:
        self._title = _Title(info)
        self._live = live
        self._round = self._scenario = ""
        self._step = "starting the worker"
        self._step_since_s = time.monotonic()
        self._memory = ""
        live.get_renderable = self._render  # type: ignore[method-assign]

    def on(self, event: Event) -> None:
        """Take note; the display is drawn a few times a second whatever happens."""
        match event:
            case TurnStarted():
                self._title.begin(event)
            case RoundStarted():
                self._round = self._title.of(event)
            case SwapStarted():
                self._scenario = event.scenario
            case StepStarted():
                self._step, self._step_since_s = event.step, time.monotonic()
            case MemorySample(observer="worker"):
                self._memory = _memory_line(event)
            case SwapFinished():
                self._live.console.print(f"{self._round}  {_swap_line(event)}", markup=False, highlight=False)
            case Note():
                self._live.console.print(f"note: {event.text}", markup=False)

    def _render(self) -> Table:
        what = f"phase {self._step}" if self._step in set(Phase) else self._step
        ticking_s = time.monotonic() - self._step_since_s
        line = Table.grid(padding=(0, 2))
        line.add_row(self._round, self._scenario, f"{what} {ticking_s:.1f} s", self._memory)
        return line


@contextmanager
def observing(info: RunInfo, *, quiet: bool) -> Iterator[Observer]:
    """The view that fits: standard error, since standard output is the report's."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
            yield LiveView(info, live)
    else:
        yield PlainLines(info, sys.stderr)


class _Title:
    """What a round is called: `round 2/6 (warm-up), slab`; of two arms, `round 2/6, B`."""

    def __init__(self, info: RunInfo) -> None:
        self._total = int(info.experiment["rounds"]) + int(info.experiment["warmup"])
        strategies = info.experiment["strategy"]
        self._several = isinstance(strategies, dict) and len(strategies) > 1
        self._arm = ""

    def begin(self, event: TurnStarted) -> None:
        """What follows is of another arm."""
        self._arm = event.arm

    def of(self, event: RoundStarted) -> str:
        title = f"round {event.round + 1}/{self._total}" + (" (warm-up)" if event.warmup else "")
        return ", ".join(part for part in (title, self._arm, event.strategy if self._several else "") if part)


def _swap_line(event: SwapFinished) -> str:
    if event.status != "ok":
        returned = event.rollback_s is not None
        back = f"; the old model is back after {event.rollback_s:.2f} s" if returned else ""
        return f"{event.scenario}: {event.status.replace('_', ' ')}: {event.error}{back}"
    measured = event.to_first_token_s is not None
    token = f", first token at {event.to_first_token_s:.3f} s" if measured else ""
    invalid = "" if event.valid else f"  [invalid: {event.invalid_reason}]"
    total = "" if event.total_s is None else f" {event.total_s:.3f} s"
    return f"{event.scenario}:{total}{token if total else token.removeprefix(',')}{invalid}"


def _memory_line(event: MemorySample) -> str:
    ledgers = event.ledgers
    held = {"MLX": ledgers.mlx_active_bytes, "process": ledgers.footprint_bytes}
    return ", ".join(f"{name} {value / 1e9:.2f} GB" for name, value in held.items() if value is not None)

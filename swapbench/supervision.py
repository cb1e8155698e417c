"""Workers one after another: when one is lost in a swap, the next one goes on with what is left."""

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swapbench.errors import WorkerError
from swapbench.experiment import Experiment
from swapbench.phases import Phase
from swapbench.plan import SwapKey, Turn, make_plan, schedule, turns
from swapbench.wire import (
    Checkpoint,
    Event,
    GaveUp,
    Note,
    PlannedSwap,
    Recovered,
    Reply,
    RunFinished,
    StepStarted,
    SwapFinished,
    SwapStarted,
)
from swapbench.worker_process import WorkerProcess


@dataclass
class Supervisor:
    """Runs an experiment's swaps through as many workers as it takes.

    `done` are the swaps that need not be carried out; it grows.
    """

    experiment: Experiment
    checkpoints: Mapping[str, Checkpoint]
    expected: Mapping[str, tuple[Reply, ...]]
    python: str
    log: Path
    scratch_dir: Path
    fail_fast: bool
    done: set[SwapKey]
    _swap: SwapStarted | None = field(default=None, init=False)
    _step: str = field(default="", init=False)
    _reason: str = field(default="", init=False)

    def events(self) -> Generator[Event, None, None]:
        """Every event of every worker. A swap in which a worker is lost ends in a row of its own.

        Its old model is served by the next worker, and answers, before the row is given: how long that took
        since the loss is the swap's `rollback_s`.

        Raises:
            WorkerError: a worker was lost outside any swap, or in a swap of a run that stops at the first
                failure.
        """
        left = [turn for turn in turns(self.experiment) if schedule(self.experiment, turn, self.done)]
        for turn in left:
            for event in self._turn(turn):
                stopped = isinstance(event, RunFinished) and event.stopped
                if not isinstance(event, RunFinished) or stopped or turn is left[-1]:
                    yield event
                if stopped:
                    return

    def _turn(self, turn: Turn) -> Generator[Event, None, None]:
        lost: SwapFinished | None = None
        lost_s = 0.0
        while True:
            try:
                begun_with = len(self.done)
                with self._worker(turn, lost) as worker:
                    for event in self._follow(worker.events()):
                        if isinstance(event, Recovered) and lost is not None:
                            yield _recovered(lost, event, time.monotonic() - lost_s)
                            lost = None
                        yield event
                        if isinstance(event, RunFinished):
                            return
                if len(self.done) == begun_with:
                    raise WorkerError(f"the worker gave up before it finished a swap: {self._reason}")
                yield Note(text="a new worker goes on with what is left: the last one is stuck")
            except WorkerError as error:
                if lost is not None:
                    yield lost
                if self._swap is None:
                    raise
                lost, lost_s = self._lost(self._swap, str(error)), time.monotonic()
                self._swap = None
                self.done.add((lost.round, lost.strategy, lost.scenario))
                if self.fail_fast:
                    yield lost
                    raise
                yield Note(text=f"{error}; a new worker goes on with what is left")

    def _worker(self, turn: Turn, lost: SwapFinished | None) -> WorkerProcess:
        plan = make_plan(
            self.experiment,
            turn,
            self.checkpoints,
            self.scratch_dir,
            fail_fast=self.fail_fast,
            done=self.done,
            expected=self.expected,
            recover=None if lost is None else _planned(lost),
        )
        return WorkerProcess(self.python, plan, self.log, self.experiment.swap_timeout_s)

    def _follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Remember which swap is going on, and in which step it is."""
        for event in events:
            match event:
                case SwapStarted():
                    self._swap, self._step = event, ""
                case StepStarted():
                    self._step = event.step
                case SwapFinished():
                    self.done.add((event.round, event.strategy, event.scenario))
                    self._swap = None
                case GaveUp():
                    self._reason = event.reason
            yield event

    def _lost(self, swap: SwapStarted, reason: str) -> SwapFinished:
        """The row of the swap in which a worker was lost."""
        scenario = next(s for s in self.experiment.scenario if s.name == swap.scenario)
        fault = self.experiment.fault_in(swap.scenario, swap.round)
        return SwapFinished(
            round=swap.round,
            warmup=swap.warmup,
            scenario=scenario.name,
            strategy=swap.strategy,
            from_model=scenario.from_model,
            to_model=scenario.to_model,
            valid=False,
            status="failed",
            error=f"{self._step or 'worker'} failed: {reason}",
            failed_phase=Phase(self._step) if self._step in set(Phase) else None,
            fault=fault.kind if fault else "",
        )


def _planned(lost: SwapFinished) -> PlannedSwap:
    return PlannedSwap(round=lost.round, warmup=lost.warmup, scenario=lost.scenario)


def _recovered(lost: SwapFinished, event: Recovered, seconds: float) -> SwapFinished:
    if event.error:
        return lost.model_copy(update={"error": f"{lost.error}; {event.error}"})
    return lost.model_copy(
        update={
            "status": "rolled_back",
            "rollback_s": seconds,
            "settled": event.settled,
            "readable_caches": event.readable_caches,
            "broken_caches": event.broken_caches,
        }
    )

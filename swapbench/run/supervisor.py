"""Workers one after another: when one is lost in a swap, the next one goes on with what is left."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swapbench.base.errors import WorkerError
from swapbench.base.phases import Phase
from swapbench.instruments import page_cache
from swapbench.run.worker_process import WorkerProcess
from swapbench.spec.experiment import PageCache
from swapbench.wire.events import (
    Event,
    GaveUp,
    Note,
    Recovered,
    RunFinished,
    StepStarted,
    SwapStarted,
    TurnStarted,
)
from swapbench.wire.plan import Arm, Reply, Turn, make_plan, schedule
from swapbench.wire.swap import PhaseMeasured, PlannedSwap, SwapFinished, SwapKey, Timing


@dataclass
class Supervisor:
    """Runs a run's turns through as many workers as it takes.

    `expected` are the answers of fresh processes by arm and model; `done` the swaps that need not be carried
    out: it grows.
    """

    arms: Mapping[str, Arm]
    turns: Sequence[Turn]
    expected: Mapping[str, Mapping[str, tuple[Reply, ...]]]
    log: Path
    scratch_dir: Path
    fail_fast: bool
    done: set[SwapKey]
    _swap: PlannedSwap | None = field(default=None, init=False)
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
        left = [t for t in self.turns if schedule(self.arms[t.arm].experiment, t, self.done)]
        for turn in left:
            self._make_equal(turn)
            yield TurnStarted(turn=turn.number, arm=turn.arm)
            for event in self._turn(turn):
                stopped = isinstance(event, RunFinished) and event.stopped
                if not isinstance(event, RunFinished) or stopped or turn is left[-1]:
                    yield event
                if stopped:
                    return

    def _make_equal(self, turn: Turn) -> None:
        """What one arm has left in the page cache must not be what the next one finds there.

        Warm and cold are made so before each swap, by the worker; what is left as it is has to be made equal
        here.
        """
        arm = self.arms[turn.arm]
        labels = {arm.experiment.page_cache_of(scenario) for scenario in arm.experiment.scenario}
        if (
            len(self.arms) > 1
            and PageCache.AS_IS in labels
            and arm.experiment.target != "scripted"
            and arm.server is None
        ):
            for checkpoint in arm.checkpoints.values():
                page_cache.prime(page_cache.weight_files(checkpoint.path))

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
                self.done.add(lost.swap.key)
                if self.fail_fast:
                    yield lost
                    raise
                yield Note(text=f"{error}; a new worker goes on with what is left")

    def _worker(self, turn: Turn, lost: SwapFinished | None) -> WorkerProcess:
        arm = self.arms[turn.arm]
        plan = make_plan(
            arm,
            turn,
            self.scratch_dir / turn.arm,
            fail_fast=self.fail_fast,
            done=self.done,
            expected=self.expected.get(turn.arm),
            recover=None if lost is None else lost.swap,
            log=(self.log.parent / "server.log").absolute(),
        )
        return WorkerProcess(arm.python, plan, self.log, _silence_s(arm))

    def _follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Remember which swap is going on, and in which step it is."""
        for event in events:
            match event:
                case SwapStarted():
                    self._swap, self._step = event.swap, ""
                case StepStarted():
                    self._step = event.step
                case PhaseMeasured() if event.phase == self._step and not event.span:
                    self._step = ""
                case SwapFinished():
                    self.done.add(event.swap.key)
                    self._swap = None
                case GaveUp():
                    self._reason = event.reason
            yield event

    def _lost(self, swap: PlannedSwap, reason: str) -> SwapFinished:
        """The row of the swap in which a worker was lost; what that had counted went with it."""
        fault = self.arms[swap.arm].experiment.fault_in(swap.scenario, swap.round)
        return SwapFinished(
            swap=swap,
            status="failed",
            error=f"{self._step or 'worker'} failed: {reason}",
            failed_phase=Phase(self._step) if self._step in set(Phase) else None,
            fault=fault.kind if fault else "",
            valid=False,
            timing=Timing(),
        )


def _silence_s(arm: Arm) -> float:
    """How long a worker may be silent: a server is asked up to three times to roll back, and started anew."""
    silence_s = arm.experiment.swap_timeout_s
    return silence_s if arm.server is None else 3 * silence_s + arm.server.preset.ready.timeout_s


def _recovered(lost: SwapFinished, event: Recovered, seconds: float) -> SwapFinished:
    if event.error:
        return lost.model_copy(update={"error": f"{lost.error}; {event.error}"})
    return lost.model_copy(
        update={
            "status": "rolled_back",
            "rollback_s": seconds,
            "recovery": "restart",
            "audit": event.audit,
        }
    )

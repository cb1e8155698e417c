"""The parent's child processes: fresh ones that answer and never swap, and workers, one after another."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.phases import Phase
from swapbench.base.process import LENT, how_it_ended
from swapbench.instruments import page_cache
from swapbench.instruments.ledgers import ProcessTree
from swapbench.spec.experiment import Experiment, PageCache
from swapbench.wire.events import (
    Event,
    GaveUp,
    Note,
    Recovered,
    RoundStarted,
    RunFinished,
    StepStarted,
    SwapStarted,
    TurnStarted,
    WorkerReady,
    decode_event,
    encode,
)
from swapbench.wire.plan import Arm, Checkpoint, Plan, Questions, Replies, Reply, Turn, make_plan, schedule
from swapbench.wire.swap import (
    NO_SWAP,
    MemorySample,
    PhaseMeasured,
    PlannedSwap,
    SwapFinished,
    SwapKey,
    Timing,
)


def verified_models(experiment: Experiment, swaps: tuple[PlannedSwap, ...]) -> tuple[str, ...]:
    """The models that the swaps lead to and that are asked for tokens there, in order."""
    if experiment.verify.tokens == 0 or experiment.target not in ("inprocess", "sharded"):
        return ()
    planned = {swap.scenario for swap in swaps}
    asked = (s.to_model for s in experiment.scenario if s.name in planned and experiment.asks(s))
    return tuple(dict.fromkeys(asked))


def replies_of(checkpoint: Checkpoint, experiment: Experiment, python: str, log: Path) -> tuple[Reply, ...]:
    """What a fresh process answers of the checkpoint to what will be asked after each swap.

    Raises:
        WorkerError: it failed, or took longer than a swap may; the message says why.
    """
    begins = log.stat().st_size if log.exists() else 0
    questions = Questions(
        checkpoint=checkpoint,
        verify=experiment.verify,
        engine=experiment.engine,
        sharded=experiment.sharding(),
    )
    try:
        with log.open("ab") as output:
            done = subprocess.run(
                [python, *LENT, "swapbench.worker.reference"],
                input=encode(questions),
                stdout=subprocess.PIPE,
                stderr=output,
                timeout=experiment.swap_timeout_s,
                check=False,
            )
    except OSError as error:
        raise WorkerError(f"{python}: can't be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise WorkerError(f"no answer within {experiment.swap_timeout_s:g} s") from None
    try:
        return Replies.model_validate_json(done.stdout).replies
    except ValidationError:
        raise WorkerError(last_line(log, begins) or f"it ended with exit code {done.returncode}") from None


def last_line(log: Path, begins: int = 0) -> str:
    """The last that was printed to a log since byte `begins`, at most some hundred characters."""
    lines = log.read_bytes()[begins:].decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


_READ_BYTES: Final = 1 << 16
_LONGEST_LINE_BYTES: Final = 1 << 20
_GRACE_S: Final = 10.0
# The worker samples itself much more often; this is for when it can't.
_LOOK_EVERY_S: Final = 0.25
_SAMPLE: Final = f'"event":"{MemorySample.model_fields["event"].default}"'.encode()


class WorkerProcess:
    """swapbench.worker in a process group of its own, killed when left.

    Args:
        python: the interpreter; it is lent this swapbench if it has none.
        log: where what the worker's libraries print is kept.
        silence_s: a worker without any event but memory samples for longer is hung.
    """

    def __init__(self, python: str, plan: Plan, log: Path, silence_s: float) -> None:
        self._log = log
        # Another worker, or another run, may have left its own last words.
        self._log_begins = log.stat().st_size if log.exists() else 0
        self._silence_s = silence_s
        self._step = "starting"
        # A server is looked at from outside already.
        self._looks = plan.server is None
        read_end, write_end = os.pipe()
        self._events = read_end
        try:
            with log.open("ab") as output:
                self._child = subprocess.Popen(
                    [python, *LENT, "swapbench.worker", "--events-fd", str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end,),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(read_end)
            raise WorkerError(f"{python}: can't be started: {error.strerror}") from None
        finally:
            os.close(write_end)
        assert self._child.stdin is not None
        self._plan_to = self._child.stdin.fileno()
        os.set_blocking(self._plan_to, False)
        self._unsent = memoryview(encode(plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self._events)

    def events(self) -> Iterator[Event]:
        """Events until the worker says that it is done, or gives up.

        Raises:
            WorkerError: it died, hung, or sent what is no event; the message says which, and where it was.
        """
        tree = ProcessTree(self._child.pid)
        swap, clock_origin_ns = NO_SWAP, None
        for line in self._lines():
            if line is None:
                # Its clock is not known yet, or a script's.
                if self._looks and clock_origin_ns is not None:
                    t_s = (time.perf_counter_ns() - clock_origin_ns) / 1e9
                    yield MemorySample(swap=swap, t_s=t_s, ledgers=tree.read(), observer="parent")
                continue
            event = decode_event(line)
            match event:
                case WorkerReady():
                    clock_origin_ns = event.clock_origin_ns
                case StepStarted():
                    self._step = event.step
                case RoundStarted() | SwapStarted():
                    swap = event.swap
            yield event
            if isinstance(event, RunFinished | GaveUp):
                self._wait()
                return
        self._wait()
        code, said = self._child.returncode, last_line(self._log, self._log_begins)
        why = f": {said}" if said and code > 0 else ""
        raise WorkerError(f"the worker {how_it_ended(code)} in {self._step}{why}")

    def kill(self) -> None:
        """End the worker and whatever it started."""
        if self._child.stdin is not None:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
        # macOS answers "not permitted" for a group of which only an unreaped child is left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _wait(self) -> None:
        try:
            self._child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _lines(self) -> Iterator[bytes | None]:
        """Whole lines, and None when it is time to look at the worker from outside.

        A last line without its end is what a dying worker could not finish.
        """
        pending = b""
        last_progress_s = look_s = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            selector.register(self._plan_to, selectors.EVENT_WRITE)
            while True:
                now_s = time.monotonic()
                if now_s >= look_s:
                    yield None
                    look_s = now_s + _LOOK_EVERY_S
                left_s = last_progress_s + self._silence_s - now_s
                # Looked at before anybody is called hung: this process may have been stopped meanwhile.
                ready = {key.fd for key, _ in selector.select(max(0.0, min(left_s, look_s - now_s)))}
                if self._plan_to in ready and self._plan_is_sent():
                    selector.unregister(self._plan_to)
                if self._events not in ready:
                    if left_s <= 0:
                        raise WorkerError(
                            f"the worker hung: silent for {self._silence_s:g} s in {self._step}"
                        )
                    continue
                data = os.read(self._events, _READ_BYTES)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                if len(pending) > _LONGEST_LINE_BYTES:
                    raise WorkerError(f"the worker sent a line of over {_LONGEST_LINE_BYTES} bytes")
                for line in lines:
                    if _SAMPLE not in line:
                        last_progress_s = time.monotonic()
                    yield line

    def _plan_is_sent(self) -> bool:
        """After as much of it as the pipe takes; a worker that has died is found out by events()."""
        try:
            self._unsent = self._unsent[os.write(self._plan_to, self._unsent) :]
        except BrokenPipeError:
            return True
        return not self._unsent


@dataclass
class Supervisor:
    """Runs a run's turns through as many workers as it takes: when one is lost in a swap, the next goes on.

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
            self._make_equal(self.arms[turn.arm])
            yield TurnStarted(turn=turn.number, arm=turn.arm)
            for event in self._turn(turn):
                stopped = isinstance(event, RunFinished) and event.stopped
                if not isinstance(event, RunFinished) or stopped or turn is left[-1]:
                    yield event
                if stopped:
                    return

    def _make_equal(self, arm: Arm) -> None:
        """What one arm has left in the page cache must not be what the next one finds there.

        Warm and cold are made so before each swap, by the worker; what is left as it is has to be made equal
        here.
        """
        as_is = PageCache.AS_IS in map(arm.experiment.page_cache_of, arm.experiment.scenario)
        if as_is and len(self.arms) > 1 and arm.experiment.target != "scripted" and arm.server is None:
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
                            changes: dict[str, object] = {"error": f"{lost.error}; {event.error}"}
                            if not event.error:
                                seconds = time.monotonic() - lost_s
                                changes = {"status": "rolled_back", "rollback_s": seconds}
                                changes |= {"recovery": "restart", "audit": event.audit}
                            yield lost.model_copy(update=changes)
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
        silence_s = arm.experiment.swap_timeout_s
        if arm.server is not None:  # asked up to three times to roll back, and started anew
            silence_s = 3 * silence_s + arm.server.preset.ready.timeout_s
        return WorkerProcess(arm.python, plan, self.log, silence_s)

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

"""The parent's child processes: the worker, and a fresh process that answers and never swaps."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.process import LENT, how_it_ended
from swapbench.instruments.ledgers import ProcessTree
from swapbench.spec.experiment import Experiment
from swapbench.wire.events import (
    Event,
    GaveUp,
    RoundStarted,
    RunFinished,
    StepStarted,
    SwapStarted,
    WorkerReady,
    decode_event,
    encode,
)
from swapbench.wire.plan import Checkpoint, Plan, Questions, Replies, Reply
from swapbench.wire.swap import NO_SWAP, MemorySample, PlannedSwap


def verified_models(experiment: Experiment, swaps: tuple[PlannedSwap, ...]) -> tuple[str, ...]:
    """The models that the swaps lead to and that are asked for tokens there, in order."""
    if experiment.verify.tokens == 0 or experiment.target not in ("inprocess", "sharded"):
        return ()
    planned = {swap.scenario for swap in swaps}
    asked = (
        s.to_model
        for s in experiment.scenario
        if s.name in planned and (experiment.first_token if s.first_token is None else s.first_token)
    )
    return tuple(dict.fromkeys(asked))


def replies_of(checkpoint: Checkpoint, experiment: Experiment, python: str, log: Path) -> tuple[Reply, ...]:
    """Start a process, load the checkpoint, ask it what will be asked after each swap.

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


_READ_BYTES = 1 << 16
_LONGEST_LINE_BYTES = 1 << 20
_GRACE_S = 10.0
# The worker samples itself much more often; this is for when it can't.
_LOOK_EVERY_S = 0.25


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
        self._swap = NO_SWAP
        self._clock_origin_ns: int | None = None
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        os.close(self._events)

    def events(self) -> Iterator[Event]:
        """Events until the worker says that it is done, or gives up.

        Raises:
            WorkerError: it died, hung, or sent what is no event; the message says which, and where it was.
        """
        tree = ProcessTree(self._child.pid)
        for line in self._lines():
            if line is None:
                # Its clock is not known yet, or a script's.
                if self._looks and self._clock_origin_ns is not None:
                    yield self._sample(tree, self._clock_origin_ns)
                continue
            event = decode_event(line)
            match event:
                case WorkerReady():
                    self._clock_origin_ns = event.clock_origin_ns
                case StepStarted():
                    self._step = event.step
                case RoundStarted() | SwapStarted():
                    self._swap = event.swap
            yield event
            if isinstance(event, RunFinished | GaveUp):
                self._wait()
                return
        raise WorkerError(self._epitaph())

    def kill(self) -> None:
        """End the worker and whatever it started."""
        if self._child.stdin is not None:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
        # macOS answers "not permitted" for a group of which only an unreaped child is left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _sample(self, tree: ProcessTree, origin_ns: int) -> MemorySample:
        """What the worker holds now, on its clock: a sample that it does not take itself."""
        t_s = (time.perf_counter_ns() - origin_ns) / 1e9
        return MemorySample(swap=self._swap, t_s=t_s, ledgers=tree.read(), observer="parent")

    def _send(self) -> None:
        """As much of the plan as the pipe takes; a worker that has died is found out by events()."""
        try:
            self._unsent = self._unsent[os.write(self._plan_to, self._unsent) :]
        except BrokenPipeError:
            self._unsent = memoryview(b"")

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
                if self._plan_to in ready:
                    self._send()
                    if not self._unsent:
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

    def _wait(self) -> None:
        try:
            self._child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _epitaph(self) -> str:
        """How the worker ended: signal or exit code, where, and the last it printed."""
        self._wait()
        code = self._child.returncode
        said = last_line(self._log, self._log_begins)
        return f"the worker {how_it_ended(code)} in {self._step}" + (f": {said}" if said and code > 0 else "")


_SAMPLE = f'"event":"{MemorySample.model_fields["event"].default}"'.encode()

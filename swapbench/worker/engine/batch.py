"""The batch engine: requests from any thread, answered together by one generator on its own thread."""

import math
import threading
import time
from collections import deque
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from swapbench.base.errors import let_go
from swapbench.compat.mlx_lm import await_generation, batch_generator, responses_of
from swapbench.worker.engine.geometry import PREFILL_STEP, BlockPool, Reservation
from swapbench.worker.engine.serial import SerialGenerator


@dataclass(frozen=True)
class Request:
    """A text to go on with. Its first `prompt_tokens` tokens are the prompt: any model can take it."""

    id: str
    text: str
    prompt_tokens: int
    max_tokens: int


def prompt_of(request: Request, tokenizer: Any) -> list[int]:
    """The tokens of a request's prompt, its text gone through as often as that takes.

    Raises:
        ValueError: the text has no tokens.
    """
    ids: list[int] = list(tokenizer.encode(request.text))
    if not ids:
        raise ValueError("its text has no tokens; send at least one")
    return (ids * -(-request.prompt_tokens // len(ids)))[: request.prompt_tokens]


@dataclass(frozen=True)
class Answer:
    """What a model said to a request."""

    id: str
    model: str
    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Drained:
    """How a drain ended: requests that finished meanwhile, and those that another engine must take."""

    finished: int
    carried: tuple["Ticket", ...]


class Ticket:
    """A client's place in the queue; it stays his when the request moves to another engine."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._first_token = threading.Event()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._asked_s = time.perf_counter()
        self._first_token_s = self._answered_s = math.nan
        self.carried = False

    @property
    def answer(self) -> Answer | None:
        """The answer, if there is one."""
        return self._answer

    @property
    def times_s(self) -> tuple[float, float, float]:
        """When it was asked, had its first token, and was answered, by perf_counter; nan where it was not."""
        return self._asked_s, self._first_token_s, self._answered_s

    @property
    def done(self) -> bool:
        """Whether it is answered, or failed."""
        return self._done.is_set()

    @property
    def first_token_s(self) -> float:
        """From asking to the first token; not a number before it."""
        return self._first_token_s - self._asked_s

    @property
    def steady_tokens_per_s(self) -> float:
        """The rate of the tokens after the first; not a number before the answer, or with fewer than two."""
        tokens = len(self._answer.tokens) if self._answer else 0
        return (tokens - 1) / (self._answered_s - self._first_token_s) if tokens > 1 else math.nan

    def first_token(self, timeout_s: float) -> None:
        """Wait until a token of the answer exists.

        Raises:
            TimeoutError: there is none yet.
            RuntimeError: the engine failed the request.
        """
        self._wait(self._first_token, timeout_s)

    def result(self, timeout_s: float) -> Answer:
        """Wait for the answer.

        Raises:
            TimeoutError, RuntimeError: as `first_token`.
        """
        self._wait(self._done, timeout_s)
        assert self._answer is not None
        return self._answer

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is answered or failed; whether it is."""
        return self._done.wait(timeout_s)

    def saw_token(self) -> None:
        """The engine has produced a token."""
        if math.isnan(self._first_token_s):
            self._first_token_s = time.perf_counter()
        self._first_token.set()

    def settle(self, answer: Answer | None, error: BaseException | None = None) -> None:
        """The engine answers, or fails, the request."""
        self._answered_s = time.perf_counter()
        self._answer, self._error = answer, error
        self._first_token.set()
        self._done.set()

    def _wait(self, event: threading.Event, timeout_s: float) -> None:
        if not event.wait(timeout_s):
            raise TimeoutError(f"request {self.request.id}: nothing after {timeout_s:g} s")
        if self._error is not None:
            raise RuntimeError(f"request {self.request.id}: {self._error}")


@dataclass
class _Running:
    ticket: Ticket
    reservation: Reservation
    tokens: list[int]


class BatchEngine:
    """Serves one model until it is drained or stopped.

    Requests are decoded greedily to exactly `max_tokens`, past any end-of-text token, as load generators
    do: how much work a request is must not depend on what a model happens to say. Without `batches`, for
    models whose caches mlx-lm can't batch, sequences take turns.

    Engines that follow one another take turns on one `thread`: MLX makes streams for each thread that
    computes (on the CPU build with an OS thread behind each) and keeps them for ever.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pool: BlockPool,
        thread: Executor,
        *,
        max_batch: int,
        name: str,
        batches: bool,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._pool = pool
        self._max_batch = max_batch
        self._name = name
        self._batches = batches
        self._changed = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._running: dict[int, _Running] = {}
        self._admitting = True
        self._cut = False
        self._stopping = False
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._served = thread.submit(self._serve)

    def await_ready(self, timeout_s: float) -> None:
        """Wait until the generator is made: it is, on the engine's own thread, and may take a while.

        Raises:
            RuntimeError: it can't be made.
            TimeoutError: it has not been made in that time.
        """
        if not self._ready.wait(timeout_s):
            raise TimeoutError(f"engine {self._name} has not started in {timeout_s:g} s")
        with self._changed:
            self._check()

    @property
    def serves(self) -> bool:
        """Whether it takes requests: neither drained nor stopped nor broken."""
        with self._changed:
            return self._admitting and not self._stopping and self._error is None

    @property
    def in_flight(self) -> int:
        """Requests that are being computed or wait for it."""
        with self._changed:
            return len(self._running) + len(self._queue)

    def submit(self, request: Request) -> Ticket:
        """Take a request.

        Raises:
            RuntimeError: the engine is drained, stopped or broken.
            ValueError: the request can never fit the block pool.
        """
        ticket = Ticket(request)
        self.resubmit(ticket)
        return ticket

    def resubmit(self, ticket: Ticket) -> None:
        """Take over a request that another engine carried; it starts again from its prompt.

        Raises:
            RuntimeError, ValueError: as `submit`.
        """
        request = ticket.request
        blocks = self._pool.blocks_for(request.prompt_tokens + request.max_tokens)
        if blocks > self._pool.capacity_blocks:
            raise ValueError(
                f"request {request.id} takes {blocks} KV blocks of the {self._pool.capacity_blocks} that "
                "there are; raise engine.kv_budget_bytes"
            )
        with self._changed:
            self._check()
            if not self._admitting:
                raise RuntimeError(f"engine {self._name} takes no more requests")
            self._queue.append(ticket)
            self._changed.notify_all()

    def drain(self, deadline_s: float, grace_s: float = math.inf) -> Drained:
        """Stop admissions, wait for what is computed until the deadline, hand the rest back.

        Raises:
            RuntimeError: the engine broke; its requests have failed with the reason.
            TimeoutError: a step of the engine's has not ended within the grace after the deadline.
        """
        with self._changed:
            self._admitting = False
            started = len(self._running)
            self._changed.wait_for(lambda: not self._running or self._error, deadline_s)
            self._check()
            finished = started - len(self._running)
            # Only the engine's own thread may touch the generator: it takes the rest out.
            self._cut = True
            self._changed.notify_all()
            back = self._changed.wait_for(
                lambda: not self._running or self._error, None if math.isinf(grace_s) else grace_s
            )
            self._check()
            if not back:
                raise TimeoutError(f"engine {self._name} is stuck: a step has not ended in {grace_s:g} s")
            carried, self._queue = tuple(self._queue), deque()
            for ticket in carried:
                ticket.carried = True
            return Drained(finished, carried)

    def stop(self, grace_s: float = math.inf) -> None:
        """Leave the thread and let go of the model; whoever still waits is told. Can be called twice.

        Raises:
            TimeoutError: a step of the engine's has not ended within the grace; nothing was let go.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        try:
            self._served.result(None if math.isinf(grace_s) else grace_s)
        except FutureTimeoutError:
            raise TimeoutError(
                f"engine {self._name} is stuck: a step has not ended in {grace_s:g} s"
            ) from None
        self._fail_waiting(RuntimeError(f"engine {self._name} was stopped"))
        self._model = self._tokenizer = None

    def _check(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"engine {self._name} broke: {self._error}")
        if self._stopping:
            raise RuntimeError(f"engine {self._name} is stopped")

    def _serve(self) -> None:
        try:
            generator = self._generator()
            self._ready.set()
            try:
                while self._admit(generator):
                    self._hand_out(responses_of(generator.next()))
            finally:
                generator.close()
        except Exception as error:  # noqa: BLE001 - the thread's border: nobody may wait for a dead engine
            let_go(error)
            self._fail_waiting(error)
            self._ready.set()

    def _generator(self) -> Any:
        if not self._batches:
            return SerialGenerator(self._model)
        return batch_generator(self._model, self._max_batch, PREFILL_STEP)

    def _admit(self, generator: Any) -> bool:
        """Wait for work and put what fits into the batch; False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(self._has_work)
            if self._cut:
                self._give_back(generator)
            while self._admitting and self._queue and len(self._running) < self._max_batch:
                request = self._queue[0].request
                reservation = self._pool.reserve(request.prompt_tokens + request.max_tokens)
                if reservation is None:
                    break
                self._begin(generator, self._queue.popleft(), reservation)
            return not self._stopping

    def _begin(self, generator: Any, ticket: Ticket, reservation: Reservation) -> None:
        request = ticket.request
        try:
            (uid,) = generator.insert([prompt_of(request, self._tokenizer)], max_tokens=[request.max_tokens])
        except Exception as error:  # noqa: BLE001 - the request's border: the others must not suffer for it
            let_go(error)
            self._pool.release(reservation)
            ticket.settle(None, error)
        else:
            self._running[uid] = _Running(ticket, reservation, [])

    def _has_work(self) -> bool:
        return bool(self._stopping or self._cut or self._running or (self._admitting and self._queue))

    def _give_back(self, generator: Any) -> None:
        """Take everything out of the batch; requests go back to the head of the queue, oldest first."""
        generator.remove(list(self._running))
        for uid in sorted(self._running, reverse=True):
            running = self._running.pop(uid)
            self._pool.release(running.reservation)
            self._queue.appendleft(running.ticket)
        self._cut = False
        self._rest()

    def _rest(self) -> None:
        """A step that was begun ahead is over, and not left to whoever measures the next phase."""
        await_generation()
        self._changed.notify_all()

    def _hand_out(self, responses: list[Any]) -> None:
        with self._changed:
            for response in responses:
                running = self._running[response.uid]
                running.tokens.append(response.token)
                running.ticket.saw_token()
                if response.finish_reason is not None:
                    del self._running[response.uid]
                    self._pool.release(running.reservation)
                    running.ticket.settle(self._answer(running))
            if not self._running:
                self._rest()

    def _answer(self, running: _Running) -> Answer:
        text = self._tokenizer.decode(running.tokens)
        return Answer(running.ticket.request.id, self._name, tuple(running.tokens), text)

    def _fail_waiting(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            for running in self._running.values():
                self._pool.release(running.reservation)
                running.ticket.settle(None, error)
            for ticket in self._queue:
                ticket.settle(None, error)
            self._running.clear()
            self._queue.clear()
            self._changed.notify_all()

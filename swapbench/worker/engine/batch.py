"""The batch engine: requests from any thread, answered together by one generator on its own thread."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache

from swapbench.base.errors import let_go
from swapbench.compat.mlx_lm import await_generation, batch_generator, responses_of, wired
from swapbench.spec.experiment import Verify
from swapbench.wire.plan import Reply
from swapbench.worker.engine.geometry import PREFILL_STEP, BlockPool
from swapbench.worker.engine.requests import PATIENCE_S, Answer, Request, Ticket, tokens_of, verification


@dataclass(frozen=True)
class Drained:
    """How a drain ended: requests that finished meanwhile, and those that another engine must take."""

    finished: int
    carried: tuple[Ticket, ...]


@dataclass
class _Running:
    ticket: Ticket
    blocks: int
    tokens: list[int] = field(default_factory=list)


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
        """Wait until the generator is made, on the engine's own thread.

        Raises RuntimeError where it can't be made, TimeoutError where it has not been in that time.
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
        with self._changed:
            return len(self._running) + len(self._queue)

    def submit(self, request: Request) -> Ticket:
        """Take a request. RuntimeError of an engine that takes none, ValueError of one that can never fit."""
        ticket = Ticket(request)
        self.resubmit(ticket)
        return ticket

    def resubmit(self, ticket: Ticket) -> None:
        """Take over a request that another engine carried: from its prompt again. Raises as `submit`."""
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

    def drain(self, deadline_s: float, grace_s: float | None = None) -> Drained:
        """Stop admissions, wait for what is computed until the deadline, hand the rest back.

        Raises RuntimeError of a broken engine, TimeoutError where a step outlasts deadline and grace.
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
            back = self._changed.wait_for(lambda: not self._running or self._error, grace_s)
            self._check()
            if not back:
                raise self._stuck(grace_s)
            carried, self._queue = tuple(self._queue), deque()
            for ticket in carried:
                ticket.carried = True
            return Drained(finished, carried)

    def stop(self, grace_s: float | None = None) -> None:
        """Leave the thread and let go of the model; whoever still waits is told. Can be called twice.

        Raises TimeoutError where a step has not ended within the grace; nothing was let go then.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        try:
            self._served.result(grace_s)
        except TimeoutError:
            raise self._stuck(grace_s) from None
        self._fail_waiting(RuntimeError(f"engine {self._name} was stopped"))
        self._model = self._tokenizer = None

    def _stuck(self, grace_s: float | None) -> TimeoutError:
        return TimeoutError(f"engine {self._name} is stuck: a step has not ended in {grace_s or 0:g} s")

    def _check(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"engine {self._name} broke: {self._error}")
        if self._stopping:
            raise RuntimeError(f"engine {self._name} is stopped")

    def _serve(self) -> None:
        try:
            if self._batches:
                generator = batch_generator(self._model, self._max_batch, PREFILL_STEP)
            else:
                generator = SerialGenerator(self._model)
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

    def _admit(self, generator: Any) -> bool:
        """Wait for work and put what fits into the batch; False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._cut or self._running or (self._admitting and self._queue)
            )
            if self._cut:
                self._give_back(generator)
            while self._admitting and self._queue and len(self._running) < self._max_batch:
                request = self._queue[0].request
                blocks = self._pool.reserve(request.prompt_tokens + request.max_tokens)
                if blocks is None:
                    break
                self._begin(generator, self._queue.popleft(), blocks)
            return not self._stopping

    def _begin(self, generator: Any, ticket: Ticket, blocks: int) -> None:
        request = ticket.request
        try:
            prompt = tokens_of(request.text, request.prompt_tokens, self._tokenizer)
            (uid,) = generator.insert([prompt], max_tokens=[request.max_tokens])
        except Exception as error:  # noqa: BLE001 - the request's border: the others must not suffer for it
            let_go(error)
            self._pool.release(blocks)
            ticket.settle(None, error)
        else:
            self._running[uid] = _Running(ticket, blocks)

    def _give_back(self, generator: Any) -> None:
        """Take everything out of the batch; requests go back to the head of the queue, oldest first."""
        generator.remove(list(self._running))
        for uid in sorted(self._running, reverse=True):
            running = self._running.pop(uid)
            self._pool.release(running.blocks)
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
                ticket, tokens = running.ticket, running.tokens
                tokens.append(response.token)
                ticket.saw_token()
                if response.finish_reason is not None:
                    del self._running[response.uid]
                    self._pool.release(running.blocks)
                    text = self._tokenizer.decode(tokens)
                    ticket.settle(Answer(ticket.request.id, self._name, tuple(tokens), text))
            if not self._running:
                self._rest()

    def _fail_waiting(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            for running in self._running.values():
                self._pool.release(running.blocks)
                running.ticket.settle(None, error)
            for ticket in self._queue:
                ticket.settle(None, error)
            self._running.clear()
            self._queue.clear()
            self._changed.notify_all()


def ask(engine: BatchEngine, verify: Verify) -> tuple[Reply, ...]:
    """What the engine's model says to the verification prompts, one after another: alone in its batch, for
    another batch computes in another order, and rounds otherwise.
    """
    replies = []
    for length in verify.prompt_tokens:
        answer = engine.submit(verification(length, verify.tokens)).result(PATIENCE_S)
        replies.append(Reply(prompt_tokens=length, tokens=answer.tokens))
    return tuple(replies)


class Response(NamedTuple):
    """One token of a sequence, as BatchGenerator hands it out."""

    uid: int
    token: int
    finish_reason: str | None


@dataclass
class _Sequence:
    steps: Iterator[tuple[Any, Any]]
    left: int


class SerialGenerator:
    """What the engine asks of a BatchGenerator, for models whose caches mlx-lm can't put together in one.

    Each sequence has a cache and a forward pass of its own. They take turns, a token each: all of them are in
    flight, as in a batch.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._sequences: dict[int, _Sequence] = {}
        self._next_uid = 0
        # Steps that take turns leave the stream of one of them behind.
        self._stream = mx.default_stream(mx.default_device())
        self._wired = wired(model)
        self._wired.__enter__()

    def insert(self, prompts: list[list[int]], max_tokens: list[int]) -> list[int]:
        (prompt,), (most,) = prompts, max_tokens  # the engine's come one by one
        if not prompt or most < 1:
            raise ValueError("a prompt has no tokens, or asks for none")
        steps = generate_step(
            mx.array(prompt),
            self._model,
            max_tokens=most,
            prompt_cache=make_prompt_cache(self._model),
            prefill_step_size=PREFILL_STEP,
        )
        self._next_uid += 1
        self._sequences[self._next_uid] = _Sequence(steps, most)
        return [self._next_uid]

    def next(self) -> tuple[list[Any], list[Response]]:
        """The next token of every sequence, greedily; of prompts nothing is told."""
        responses = []
        for uid, sequence in list(self._sequences.items()):
            token, _ = next(sequence.steps)
            sequence.left -= 1
            if not sequence.left:
                self.remove([uid])
            responses.append(Response(uid, token, None if sequence.left else "length"))
        return [], responses

    def remove(self, uids: list[int]) -> None:
        for uid in uids:
            self._sequences.pop(uid)

    def close(self) -> None:
        self._sequences.clear()
        self._wired.__exit__(None, None, None)
        mx.set_default_stream(self._stream)


class FrontDoor:
    """Where clients knock: requests go on to the engine that serves, and wait in order while none does.

    None is lost silently. At most `limit` wait: whoever comes after them is refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._engine: BatchEngine | None = None
        self._waiting: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """Requests that no engine has taken yet."""
        with self._lock:
            return len(self._waiting)

    def submit(self, request: Request) -> Ticket | None:
        """A place in the queue, or None for a request that is refused."""
        with self._lock:
            if self._engine is None and len(self._waiting) >= self._limit:
                return None
            ticket = Ticket(request)
            if self._engine is None:
                self._waiting.append(ticket)
            else:
                _hand_over(self._engine, ticket)
            return ticket

    def close(self) -> None:
        """The engine is about to go: from now on requests wait."""
        with self._lock:
            self._engine = None

    def open(self, engine: BatchEngine) -> None:
        """Another engine serves: it takes those that wait, oldest first, and all that come."""
        with self._lock:
            while self._waiting:
                _hand_over(engine, self._waiting.popleft())
            self._engine = engine


def _hand_over(engine: BatchEngine, ticket: Ticket) -> None:
    """An engine that does not take a request fails it: its client is told, and the others go on."""
    try:
        engine.resubmit(ticket)
    except (RuntimeError, ValueError) as error:
        ticket.settle(None, error)

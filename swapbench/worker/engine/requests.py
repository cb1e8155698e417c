"""Requests of an engine, and clients that send them while a model is swapped. Nothing here imports MLX."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from swapbench.spec.experiment import Workload
from swapbench.wire.swap import ClientRequest, PlannedSwap

# Longer than any request should take; a worker that really hangs is the parent's to kill.
PATIENCE_S: Final = 3600.0
# What whoever has just begun to serve is asked.
HELLO: Final = "Hello, who is answering now?"
_VERIFICATION_SEED: Final = 2026
_PROSE: Final = (
    "the model was asked about memory and answered that a page is read once then kept until another one "
    "needs its place so a server with two models writes down what it knew before it lets go of the first"
)


@dataclass(frozen=True)
class Request:
    """A text to go on with. Its first `prompt_tokens` tokens are the prompt: any model can take it."""

    id: str
    text: str
    prompt_tokens: int
    max_tokens: int


def tokens_of(text: str, count: int, tokenizer: Any) -> list[int]:
    """So many tokens of a text, gone through as often as that takes; ValueError of a text without any."""
    ids: list[int] = list(tokenizer.encode(text))
    if not ids:
        raise ValueError("its text has no tokens; send at least one")
    return (ids * -(-count // len(ids)))[:count]


def text(words: int, seed: int) -> str:
    """Plausible English, the same for the same seed."""
    vocabulary = _PROSE.split()
    chosen = random.Random(seed)
    return " ".join(chosen.choice(vocabulary) for _ in range(words))


def requests(count: int, prompt_tokens: int, decode_tokens: int, seed: int) -> list[Request]:
    return [
        Request(f"request-{n}", text(prompt_tokens, seed * count + n), prompt_tokens, decode_tokens)
        for n in range(1, count + 1)
    ]


def verification(prompt_tokens: int, tokens: int) -> Request:
    """What every model is asked, whoever serves it: the same text for the same length."""
    return requests(1, prompt_tokens, tokens, seed=_VERIFICATION_SEED)[0]


@dataclass(frozen=True)
class Answer:
    id: str
    model: str
    tokens: tuple[int, ...]
    text: str


class Ticket:
    """A client's place in the queue; it stays his when the request moves to another engine.

    `times_s`: when it was asked, had its first token, and was answered (perf_counter); nan before.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.carried = False
        self.answer: Answer | None = None
        self.times_s = (time.perf_counter(), math.nan, math.nan)
        self._first_token = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def first_token_s(self) -> float:
        """From asking to the first token; not a number before it."""
        asked_s, first_s, _ = self.times_s
        return first_s - asked_s

    @property
    def steady_tokens_per_s(self) -> float:
        """The rate of the tokens after the first; not a number before the answer, or with fewer than two."""
        tokens = len(self.answer.tokens) if self.answer else 0
        _, first_s, answered_s = self.times_s
        return (tokens - 1) / (answered_s - first_s) if tokens > 1 else math.nan

    def first_token(self, timeout_s: float) -> None:
        """Wait until a token exists; raises TimeoutError, or RuntimeError where the request failed."""
        self._wait(self._first_token, timeout_s)

    def result(self, timeout_s: float) -> Answer:
        """Wait for the answer; raises as `first_token`."""
        self._wait(self._done, timeout_s)
        assert self.answer is not None
        return self.answer

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is answered or failed; whether it is."""
        return self._done.wait(timeout_s)

    def saw_token(self) -> None:
        asked_s, first_s, _ = self.times_s
        if math.isnan(first_s):
            self.times_s = (asked_s, time.perf_counter(), math.nan)
        self._first_token.set()

    def settle(self, answer: Answer | None, error: BaseException | None = None) -> None:
        self.times_s = (*self.times_s[:2], time.perf_counter())
        self.answer, self._error = answer, error
        self._first_token.set()
        self._done.set()

    def _wait(self, event: threading.Event, timeout_s: float) -> None:
        if not event.wait(timeout_s):
            raise TimeoutError(f"request {self.request.id}: nothing after {timeout_s:g} s")
        if self._error is not None:
            raise RuntimeError(f"request {self.request.id}: {self._error}")


_Request = TypeVar("_Request")
_Ticket = TypeVar("_Ticket")


@dataclass(frozen=True)
class Sent(Generic[_Request, _Ticket]):
    """A request as its client sees it: when it was sent (perf_counter), and what was got for it."""

    client: int
    request: _Request
    at_s: float
    ticket: _Ticket


def arrivals(rate_per_s: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests come, by a Poisson process: nobody waits for answers."""
    chance = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += chance.expovariate(rate_per_s)
        yield at_s


class Traffic(Generic[_Request, _Ticket]):
    """An open loop, so that a slow server gets no mercy: sends on a thread of its own until it is stopped.

    `send` passes a request on and must not block, `make` makes that of a number, `clients` take turns.
    """

    def __init__(
        self,
        send: Callable[[_Request], _Ticket],
        make: Callable[[int], _Request],
        clients: int,
        rate_per_s: float,
        seed: int,
    ) -> None:
        self._send = send
        self._make = make
        self._clients = clients
        self._times = arrivals(rate_per_s, seed)
        self._changed = threading.Condition()
        self._sent: list[Sent[_Request, _Ticket]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def sent(self) -> tuple[Sent[_Request, _Ticket], ...]:
        with self._changed:
            return tuple(self._sent)

    def await_more(self, count: int) -> None:
        """Wait until so many more have been sent."""
        with self._changed:
            goal = len(self._sent) + count
            self._changed.wait_for(lambda: len(self._sent) >= goal or self._stopped.is_set())

    def stop(self) -> tuple[Sent[_Request, _Ticket], ...]:
        """Send no more; returns everything sent. Can be called twice."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        return self.sent()

    def _run(self) -> None:
        begun_s = time.perf_counter()
        for number, due_s in enumerate(self._times):
            if self._stopped.wait(max(0.0, begun_s + due_s - time.perf_counter())):
                return
            request = self._make(number)
            at_s = time.perf_counter()
            sent = Sent(number % self._clients, request, at_s, self._send(request))
            with self._changed:
                self._sent.append(sent)
                self._changed.notify_all()


def client_request(number: int, work: Workload, round_: int) -> Request:
    """The engine's request of that number, another one in every round."""
    name = f"client-{number % work.clients + 1}/{number}"
    words = text(work.prompt_tokens, seed=(round_ + 1) * 1_000_003 + number)
    return Request(name, words, work.prompt_tokens, work.decode_tokens)


def seen_by_client(sent: Sent[Request, Ticket | None], planned: PlannedSwap, zero_s: float) -> ClientRequest:
    """What became of a request, refused where it has no ticket; times count from `zero_s` (perf_counter)."""
    ticket = sent.ticket
    answer = ticket.answer if ticket is not None else None
    outcome: Literal["answered", "refused", "lost", "failed"] = "answered"
    if ticket is None:
        outcome = "refused"
    elif answer is None:
        outcome = "failed" if ticket.done else "lost"
    first_token_s = answered_s = None
    if ticket is not None and answer is not None:
        first_token_s, answered_s = (at_s - zero_s for at_s in ticket.times_s[1:])
    return ClientRequest(
        swap=planned,
        client=sent.client + 1,
        request=sent.request.id,
        sent_s=sent.at_s - zero_s,
        first_token_s=first_token_s,
        answered_s=answered_s,
        model=answer.model if answer is not None else "",
        carried=ticket is not None and ticket.carried,
        outcome=outcome,
    )

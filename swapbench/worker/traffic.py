"""Clients that go on sending while a model is swapped: open loop, so that a slow server gets no mercy."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from swapbench.spec.experiment import Workload
from swapbench.wire.swap import ClientRequest, PlannedSwap

if TYPE_CHECKING:
    from swapbench.worker.engine.batch import Request, Ticket

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
    """Sends requests at their times, on a thread of its own, until it is stopped.

    Args:
        send: passes a request on; must not block.
        make: the request of a number, from 0.
        clients: how many take turns.
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
        """Send from now on."""
        self._thread.start()

    def sent(self) -> tuple[Sent[_Request, _Ticket], ...]:
        """Everything sent so far."""
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


def client_request(number: int, work: Workload, round_: int) -> "Request":
    """The engine's request of that number, another one in every round."""
    # A server is measured without MLX in the worker.
    from swapbench.worker.engine.batch import Request
    from swapbench.worker.engine.workload import text

    return Request(
        id=f"client-{number % work.clients + 1}/{number}",
        text=text(work.prompt_tokens, seed=(round_ + 1) * 1_000_003 + number),
        prompt_tokens=work.prompt_tokens,
        max_tokens=work.decode_tokens,
    )


def seen_by_client(
    sent: "Sent[Request, Ticket | None]", planned: PlannedSwap, zero_s: float
) -> ClientRequest:
    """What became of a request; times count from `zero_s` (perf_counter), the swap request.

    One without a ticket was refused.
    """
    first_token_s = answered_s = None
    model, carried = "", False
    outcome: Literal["answered", "refused", "lost", "failed"] = "refused"
    if sent.ticket is not None:
        answer = sent.ticket.answer
        carried = sent.ticket.carried
        outcome = "answered" if answer is not None else "failed" if sent.ticket.done else "lost"
        if answer is not None:
            model = answer.model
            _, first_s, end_s = sent.ticket.times_s
            first_token_s, answered_s = first_s - zero_s, end_s - zero_s
    return ClientRequest(
        swap=planned,
        client=sent.client + 1,
        request=sent.request.id,
        sent_s=sent.at_s - zero_s,
        first_token_s=first_token_s,
        answered_s=answered_s,
        model=model,
        carried=carried,
        outcome=outcome,
    )

"""Where clients knock: requests go on to the engine that serves, and wait here while none does."""

import threading
from collections import deque

from swapbench.worker.engine.batch import BatchEngine, Request, Ticket


class FrontDoor:
    """Keeps requests in order across a swap; none is lost silently.

    At most `limit` wait: whoever comes after them is refused, as a server does that will not be overrun.
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

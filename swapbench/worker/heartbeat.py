"""Whether whoever asks during a swap is answered: a health check that ticks, and how long it stood still."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from swapbench.base.errors import let_go
from swapbench.worker.stillness import STILLNESS

_EVERY_S = 0.02
# Who takes one request at a time answers a check only after the swap's own request, which is still open.
_LAST_ANSWER_S = 1.0


class DeafError(RuntimeError):
    """Whoever was asked did not answer: the silence goes on."""


class Heartbeat:
    """Calls `check` every 20 ms on a thread of its own, as a load balancer would.

    A server answers such checks from the process that swaps: one that computes, or reads, without letting
    other threads run looks dead meanwhile.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._last_s = 0.0
        self._longest_stall_s = 0.0
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        self._last_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_s = time.perf_counter()
        self._ended.set()
        self._thread.join(_LAST_ANSWER_S)
        self._silent_until(ended_s)

    @property
    def error(self) -> Exception | None:
        """What went wrong in the check itself: nothing was asked from then on."""
        return self._error

    @property
    def longest_stall_s(self) -> float | None:
        """The longest time without an answer, beyond the interval itself; None where the check went wrong."""
        return None if self._error is not None else max(0.0, self._longest_stall_s - _EVERY_S)

    def _beat(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_EVERY_S)
            STILLNESS.look()
            try:
                self._check()
            except DeafError:
                continue
            except Exception as error:  # noqa: BLE001 - the border of a thread: a note tells it
                let_go(error)
                self._error = error
                return
            self._silent_until(time.perf_counter())

    def _silent_until(self, now_s: float) -> None:
        self._longest_stall_s = max(self._longest_stall_s, now_s - self._last_s)
        self._last_s = now_s

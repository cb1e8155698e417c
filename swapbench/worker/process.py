"""This process, as a worker: how it ends, whether it stood still, whether it would have answered."""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn, Self

from swapbench.base.errors import let_go


def leave(code: int = 0) -> NoReturn:
    """End this process at once.

    A thread that computed with MLX takes Python's lock once more when it ends, to free what it compiled
    (https://github.com/ml-explore/mlx/pull/4110). An interpreter that shuts down meanwhile aborts now and
    then ("terminate called without an active exception"), which macOS would show as a crash; and it waits
    for an engine's thread that nobody stops any more. Nothing is left to be done by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# Shorter ones happen on a busy machine, too.
_LEAST_S: Final = 2.0
# A thread that holds Python's lock computes, or waits for the disk while each of the two that look wakes up
# every 5 ms to ask for it: 400 times a second. Right around a standstill there are some hundred switches.
_LEAST_CPU_SHARE: Final = 0.2
_LEAST_SWITCHES_PER_S: Final = 250.0
# The clock that goes on while the machine sleeps; perf_counter doesn't.
if sys.platform == "darwin":
    _WITH_SLEEP = time.CLOCK_MONOTONIC
else:
    _WITH_SLEEP = time.CLOCK_BOOTTIME


class Look(NamedTuple):
    """A moment: on the clock that stands still in sleep, on the one that doesn't; what was used so far."""

    awake_s: float
    with_sleep_s: float
    switches: int
    cpu_s: float = 0.0

    @classmethod
    def now(cls) -> Self:
        used = resource.getrusage(resource.RUSAGE_SELF)
        switches, cpu_s = used.ru_nvcsw + used.ru_nivcsw, used.ru_utime + used.ru_stime
        return cls(time.perf_counter(), time.clock_gettime(_WITH_SLEEP), switches, cpu_s)


class Stillness:
    """Adds up what is missing between looks that are to come many times a second, from any thread.

    A thread that was not let run for long need not mean much: another one may have held Python's lock. Then
    the process computed, or switched between threads all the time; one that stood still did neither.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = Look.now()
        self._seconds = 0.0

    def look(self, now: Look | None = None) -> None:
        with self._lock:
            now = now or Look.now()
            awake_s = now.awake_s - self._last.awake_s
            asleep_s = now.with_sleep_s - self._last.with_sleep_s - awake_s
            idle = (
                now.switches - self._last.switches < _LEAST_SWITCHES_PER_S * awake_s
                and now.cpu_s - self._last.cpu_s < _LEAST_CPU_SHARE * awake_s
            )
            missing_s = max(0.0, asleep_s) + (awake_s if idle else 0.0)
            if missing_s >= _LEAST_S:
                self._seconds += missing_s
            self._last = now

    def forget(self) -> None:
        with self._lock:
            self._last, self._seconds = Look.now(), 0.0

    def seconds(self) -> float:
        """How long it stood still since `forget`."""
        self.look()
        with self._lock:
            return self._seconds


# There is one process to watch: this one.
STILLNESS: Final = Stillness()

_EVERY_S = 0.02
# Who takes one request at a time answers a check only after the swap's own request, which is still open.
_LAST_ANSWER_S = 1.0


class DeafError(RuntimeError):
    """Whoever was asked did not answer: the silence goes on."""


class Heartbeat:
    """Calls `check` every 20 ms on a thread of its own, as a load balancer would.

    A server answers such checks from the process that swaps: one that computes, or reads, without letting
    other threads run looks dead meanwhile. `error` is what went wrong in the check itself: nothing was asked
    from then on.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._last_s = 0.0
        self._longest_stall_s = 0.0
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._last_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        ended_s = time.perf_counter()
        self._ended.set()
        self._thread.join(_LAST_ANSWER_S)
        self._silent_until(ended_s)

    @property
    def longest_stall_s(self) -> float | None:
        """The longest time without an answer, beyond the interval itself; None where the check went wrong."""
        return None if self.error is not None else max(0.0, self._longest_stall_s - _EVERY_S)

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
                self.error = error
                return
            self._silent_until(time.perf_counter())

    def _silent_until(self, now_s: float) -> None:
        self._longest_stall_s = max(self._longest_stall_s, now_s - self._last_s)
        self._last_s = now_s

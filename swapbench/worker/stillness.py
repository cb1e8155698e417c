"""Whether this process, or the whole machine, stood still: stopped by a signal, frozen, put to sleep."""

import resource
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

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


@dataclass(frozen=True)
class Look:
    """A moment: on the clock that stands still in sleep, on the one that doesn't; what was used so far."""

    awake_s: float
    with_sleep_s: float
    switches: int
    cpu_s: float = 0.0

    @classmethod
    def now(cls) -> Self:
        """This moment."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(
            time.perf_counter(),
            time.clock_gettime(_WITH_SLEEP),
            used.ru_nvcsw + used.ru_nivcsw,
            used.ru_utime + used.ru_stime,
        )


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
        """A sign of life."""
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
        """What was before is of no interest."""
        with self._lock:
            self._last, self._seconds = Look.now(), 0.0

    def seconds(self) -> float:
        """How long it stood still since `forget`."""
        self.look()
        with self._lock:
            return self._seconds


# There is one process to watch: this one.
STILLNESS: Final = Stillness()

"""Time in which this process could not run is told from time in which it was busy."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from swapbench.worker.stillness import Look, Stillness

# Looks every 20 ms on a thread, as the heartbeat does, until a line comes.
_LOOKS = """
import sys, threading
from swapbench.worker.stillness import STILLNESS
ended = threading.Event()
def look():
    while not ended.wait(0.02):
        STILLNESS.look()
threading.Thread(target=look, daemon=True).start()
STILLNESS.forget()
print("looking", flush=True)
sys.stdin.readline()
print(STILLNESS.seconds(), flush=True)
"""


def _seconds(*looks: Look) -> float:
    stillness = Stillness()
    stillness._last = looks[0]
    for look in looks[1:]:
        stillness.look(look)
    return stillness._seconds


@pytest.mark.parametrize(
    ("then", "missing_s"),
    [
        (Look(100.02, 500.02, 1), 0.0),  # the next look
        (Look(106.0, 506.0, 130), 6.0),  # stopped: the clock went on, nothing ran
        (Look(106.0, 506.0, 400, 0.3), 6.0),  # likewise, with much going on right before and after
        (Look(106.0, 506.0, 2000), 0.0),  # another thread held Python's lock and waited for the disk
        (Look(106.0, 506.0, 400, 5.9), 0.0),  # another thread held it and computed, on a busy machine
        (Look(100.02, 4100.02, 20), 3600.0),  # asleep: one of the clocks stood still
        (Look(106.0, 516.0, 3), 16.0),  # stopped, and asleep
        (Look(101.9, 501.9, 0), 0.0),  # a busy machine
    ],
)
def test_what_is_missing_between_two_looks(then: Look, missing_s: float) -> None:
    assert _seconds(Look(100.0, 500.0, 0), then) == pytest.approx(missing_s)


def test_what_is_missing_adds_up() -> None:
    looks = (Look(0.0, 0.0, 0), Look(3.0, 3.0, 1), Look(3.1, 3.1, 9), Look(7.1, 7.1, 10))
    assert _seconds(*looks) == pytest.approx(7.0)


def test_a_stopped_process_knows_it_afterwards(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LOOKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "looking\n"
        os.kill(process.pid, signal.SIGSTOP)
        begun_s = time.monotonic()
        threading.Event().wait(3.0)
        stopped_s = time.monotonic() - begun_s
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate("end\n")
    assert float(said) >= stopped_s - 0.1


def test_a_thread_that_holds_the_lock_is_no_stillness() -> None:
    stillness = Stillness()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            stillness.look()

    thread = threading.Thread(target=look)
    thread.start()
    stillness.forget()
    # One call in C that never lets the lock go, for some seconds.
    sum(range(150_000_000))
    ended.set()
    thread.join()
    assert stillness.seconds() == 0.0

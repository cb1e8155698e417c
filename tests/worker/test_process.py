"""How a process ends, how long nobody would have been answered, and whether it stood still or was busy."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from swapbench.worker.process import DeafError, Heartbeat, Look, Stillness

_COMPUTES_ON_A_THREAD = """
from concurrent.futures import ThreadPoolExecutor
import mlx.core as mx
from swapbench.worker.process import leave

def compute():
    mx.eval(mx.random.normal((64, 64)) @ mx.random.normal((64, 64)))

with ThreadPoolExecutor(1) as thread:
    thread.submit(compute).result()
print("computed")
leave()
"""


def test_a_process_that_leaves_ends_with_zero_and_has_said_everything() -> None:
    # Without leaving, about one in ten aborts.
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", _COMPUTES_ON_A_THREAD], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "computed\n", "")


# Looks every 20 ms on a thread, as the heartbeat does, until a line comes.
_LOOKS = """
import sys, threading
from swapbench.worker.process import STILLNESS
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


# Of this many bits, multiplying takes a good while, in one instruction of Python's that lets no thread run.
_BITS = 6_000_000
_INTERVAL_S = 0.02


def _hold_pythons_lock() -> float:
    """Compute without letting another thread run; returns the seconds that took."""
    number = (1 << _BITS) - 12345
    begun_s = time.perf_counter()
    assert number * number > number
    return time.perf_counter() - begun_s


def test_a_process_that_lets_no_thread_run_stalls_for_as_long() -> None:
    with Heartbeat(lambda: None) as heartbeat:
        held_s = _hold_pythons_lock()
    assert heartbeat.longest_stall_s is not None
    assert heartbeat.longest_stall_s > 0.8 * held_s - 0.05


def test_the_check_is_asked_while_the_swap_goes_on() -> None:
    asked = threading.Semaphore(0)
    with Heartbeat(asked.release):
        for _ in range(3):
            assert asked.acquire(timeout=30)


def test_a_check_that_hangs_is_a_stall_though_other_threads_run() -> None:
    asked, let_go = threading.Event(), threading.Event()

    def hang_once() -> None:
        if not asked.is_set():
            asked.set()
            let_go.wait(30)

    begun_s = time.perf_counter()
    with Heartbeat(hang_once) as heartbeat:
        assert asked.wait(30)
        while time.perf_counter() - begun_s < 0.2:
            threading.Event().wait(0.01)
        let_go.set()
    assert heartbeat.longest_stall_s is not None
    assert heartbeat.longest_stall_s > 0.1


def test_a_check_that_is_never_answered_is_silent_until_the_swaps_end_and_does_not_hold_it_up() -> None:
    asked, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        let_go.wait(300)

    with Heartbeat(hang) as heartbeat:
        assert asked.wait(30)
        held_s = _hold_pythons_lock()
    assert not let_go.is_set()
    assert heartbeat.longest_stall_s is not None
    assert held_s * 0.8 - 0.05 < heartbeat.longest_stall_s
    let_go.set()


def test_whoever_is_deaf_is_silent_and_asked_again() -> None:
    asked = threading.Semaphore(0)

    def deaf() -> None:
        asked.release()
        raise DeafError("nobody listens")

    with Heartbeat(deaf) as heartbeat:
        begun_s = time.perf_counter()
        for _ in range(5):
            assert asked.acquire(timeout=30)
        silent_s = time.perf_counter() - begun_s
    assert heartbeat.error is None
    assert heartbeat.longest_stall_s is not None
    assert heartbeat.longest_stall_s >= silent_s - _INTERVAL_S


def test_a_check_that_goes_wrong_leaves_no_stall_told_and_says_why() -> None:
    def wrong() -> None:
        raise KeyError("the model that is watched")

    with Heartbeat(wrong) as heartbeat:
        _hold_pythons_lock()
    assert heartbeat.longest_stall_s is None
    assert isinstance(heartbeat.error, KeyError)
    assert heartbeat.error.__traceback__ is None

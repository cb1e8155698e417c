"""How long nobody would have been answered."""

import threading
import time

from swapbench.worker.heartbeat import DeafError, Heartbeat

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

"""How a process ended."""

import signal
import subprocess
import sys

import pytest

from swapbench.base.endings import how_it_ended


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
    ],
)
def test_a_process_ends_by_itself_or_by_a_signal(ending: str, said: str) -> None:
    assert how_it_ended(subprocess.run([sys.executable, "-c", ending], check=False).returncode) == said


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="macOS has no real-time signals")
def test_a_signal_that_has_no_name_is_told_by_its_number() -> None:
    number = int(getattr(signal, "SIGRTMIN", 0)) + 5
    assert how_it_ended(-number) == f"was killed by signal {number}"

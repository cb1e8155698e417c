"""Ctrl-C, as impatient people press it."""

import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.results import list_runs, read
from tests.scripted import toml

# Pressed again and again from the first swap on, as long as the process is there.
IMPATIENT = """
import os, subprocess, sys
from swapbench import cli, runner
from swapbench.wire import SwapFinished

record = runner._Recorder.record

def until_the_first(self, event):
    record(self, event)
    if isinstance(event, SwapFinished):
        press = "while kill -INT $0; do :; done"
        nowhere = subprocess.DEVNULL
        subprocess.Popen(["sh", "-c", press, str(os.getpid())], stdout=nowhere, stderr=nowhere)
        while True:
            pass

runner._Recorder.record = until_the_first
sys.argv = ["swapbench", "run", "scripted.toml", "--quiet"]
cli.main()
"""


def test_pressed_many_times_it_ends_a_run_once_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    ((folder, info),) = list_runs(tmp_path / "results")
    assert done.returncode == 130, done.stderr
    first, second = done.stderr.splitlines()
    assert first.startswith("swapbench: interrupted; every finished swap is kept in results/scripted/")
    run = folder.relative_to(tmp_path)
    assert second.startswith(f"go on with `swapbench run --resume {run}`")
    assert (info.status, info.failure) == ("interrupted", "interrupted by the user")
    assert len(read(folder).swaps) == 1
    assert not (folder / "caches").exists()


# Ctrl-C in a place where nothing can be raised; what was going on there then passes for wrong.
SWALLOWED = """
import os, signal
from swapbench import cli
from swapbench.errors import UsageError

class Gone:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

def look():
    gone = Gone()
    del gone
    {then}

cli._carry_out = look
cli.main()
"""


@pytest.mark.parametrize("then", ['raise UsageError("nonsense")', "signal.pause()"])
def test_an_interrupt_that_was_swallowed_is_told_all_the_same(then: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(then=then)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "swapbench: interrupted\n")

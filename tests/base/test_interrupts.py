"""Ctrl-C, as impatient people press it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.scripted import toml

# Pressed again and again from the first swap on, as long as the process is there.
IMPATIENT = """
import os, subprocess, sys
from swapbench import cli
from swapbench.store import RunWriter
from swapbench.wire.events import SwapFinished

add = RunWriter.add

def until_the_first(writer, event):
    add(writer, event)
    if isinstance(event, SwapFinished):
        press = "while kill -INT $0; do :; done"
        nowhere = subprocess.DEVNULL
        subprocess.Popen(["sh", "-c", press, str(os.getpid())], stdout=nowhere, stderr=nowhere)
        while True:
            pass

RunWriter.add = until_the_first
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
    assert second.startswith(f"resume with `swapbench run --resume {run}`")
    assert (info.status, info.failure) == ("interrupted", "interrupted by the user")
    assert len(read(folder).swaps) == 1
    assert not (folder / "caches").exists()


# As early as anybody can know of the run.
AT_ONCE = """
import os, sys
from swapbench import cli
from swapbench.store import RunWriter

write = RunWriter.update

def written(self, **changes):
    write(self, **changes)
    RunWriter.update = write
    os.kill(os.getpid(), {number})

RunWriter.update = written
sys.argv = ["swapbench", "run", "scripted.toml", "--quiet"]
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGINT, 130, "interrupted by the user"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_run_that_has_only_its_folder_says_how_it_ended(
    number: int, code: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    script = AT_ONCE.format(number=int(number))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    ((_, info),) = list_runs(tmp_path / "results")
    assert (info.status, info.failure) == ("interrupted", says)
    assert done.returncode == code
    first, second = done.stderr.splitlines()
    assert first.startswith(f"swapbench: {says.removesuffix(' by the user')}; every finished swap is kept in")
    assert second.startswith("resume with `swapbench run --resume results/scripted/")


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")]
)
@pytest.mark.parametrize("before", ["swapbench.cli", "swapbench.spec.experiment"])
def test_what_ends_a_command_before_it_has_begun_is_told(
    before: str, number: int, code: int, says: str, tmp_path: Path
) -> None:
    script = (
        "import os, sys\n"
        "from swapbench.__main__ import main\n"
        "class Sought:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {before!r}: os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Sought())\n"
        "sys.argv = ['swapbench', 'list']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, f"swapbench: ended by {says}\n")


# Ctrl-C in a place where nothing can be raised; what was going on there then passes for wrong.
SWALLOWED = """
import os, signal
from swapbench import cli
from swapbench.base.errors import UsageError

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

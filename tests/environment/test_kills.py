"""SIGKILL at random moments, of parent or worker: no finished swap is lost, every run is readable."""

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from swapbench.base.errors import ResultsError
from swapbench.store import list_runs, read
from tests.frames import frame
from tests.scripted import raw_experiment, toml

pytestmark = pytest.mark.fuzz

# A chain of these for each victim; `make fuzz` has two, and ten times as many.
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KILLS = 250 if NIGHTLY else 25
# A start takes some half a second, most of it imports.
LONGEST_S = 0.8


def _begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swapbench", "run", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _unfinished(folder: Path) -> Path | None:
    """The run that is to go on."""
    runs = list_runs(folder / "results")
    return runs[-1][0] if runs and runs[-1][1].status != "complete" else None


def _finished(folder: Path) -> int:
    """Swaps of a run on disk, each once and each whole."""
    run = read(folder)
    keys = ["round", "scenario"]
    assert not frame(run.swaps).duplicated(keys).any()
    whole = frame(run.phases)[(frame(run.phases).span == "") & (frame(run.phases).phase != "first_token")]
    phases = whole.groupby(keys).size()
    for key in frame(run.swaps)[frame(run.swaps).status == "ok"][keys].itertuples(index=False, name=None):
        assert phases[key] == 8
    return len(run.swaps)


def _kill(victim: str, process: subprocess.Popen[str], folder: Path) -> None:
    if victim == "parent":
        process.kill()
        return
    with suppress(ResultsError, IndexError, ProcessLookupError):
        worker = list_runs(folder / "results")[-1][1].worker
        if worker is not None:
            os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["parent", "worker"])
@pytest.mark.parametrize("seed", [1, 2] if NIGHTLY else [1])
@pytest.mark.slow
def test_no_finished_swap_is_lost(victim: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{victim} {seed}")
    (tmp_path / "scripted.toml").write_text(toml(raw_experiment(rounds=150, warmup=0)))
    killed = 0
    while killed < KILLS:
        resumed = _unfinished(tmp_path)
        before = _finished(resumed) if resumed else 0
        process = _begin(tmp_path, *(["--resume", str(resumed)] if resumed else ["scripted.toml"]))
        lines: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lines.extend, args=(process.stderr,))
        reader.start()
        while killed < KILLS and process.poll() is None:
            threading.Event().wait(chance.uniform(0.0, LONGEST_S))
            _kill(victim, process, tmp_path)
            killed += 1
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
        assert "Traceback" not in "".join(lines)
        told = sum(re.match(r"  (up|down): ", line) is not None for line in lines)
        runs = list_runs(tmp_path / "results")
        if runs:
            assert _finished(runs[-1][0]) >= before + told


def _report(folder: Path, run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swapbench", *shlex.split(f"report {run}")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_run_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml(raw_experiment(rounds=60, warmup=0)))
    process = _begin(tmp_path, "scripted.toml")
    deadline_s = time.monotonic() + 60
    while not list(tmp_path.glob("results/*/*/swaps.csv")) and time.monotonic() < deadline_s:
        threading.Event().wait(0.01)
    process.kill()
    process.communicate()
    ((folder, info),) = list_runs(tmp_path / "results")
    assert info.status == "incomplete"
    assert "the process that carried it out is gone" in " ".join(_report(tmp_path, folder).stdout.split())
    again = _begin(tmp_path, "--resume", str(folder))
    again.communicate()
    run = read(folder)
    assert (run.info.status, len(run.swaps)) == ("complete", 120)
    assert run.info.rows is not None
    assert run.info.rows["swaps.csv"] == 120

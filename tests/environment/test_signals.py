"""Signals at random moments of every command: one line, the signal's exit code, nothing left behind."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from swapbench.store import list_runs, read
from tests.environment.commands import COMMANDS, prepared
from tests.scripted import raw_experiment, toml

# Of every command, one in the time that it takes; `make fuzz` has twenty.
MOMENTS = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("signals"))


def _begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swapbench", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _is_pythons_own(said: str) -> bool:
    """Before any line of swapbench's has run, Ctrl-C is Python's business."""
    return not said or ("Traceback" in said and "/swapbench/cli/" not in said)


@pytest.mark.fuzz
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_ctrl_c_at_any_moment_is_one_line(arguments: tuple[str, ...], folder: Path) -> None:
    begun_s = time.monotonic()
    usual = _begin(folder, *arguments)
    usual.communicate()
    whole_s = time.monotonic() - begun_s
    for moment in range(MOMENTS):
        process = _begin(folder, *arguments)
        threading.Event().wait((moment + random.random()) / MOMENTS * whole_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode == usual.returncode or _is_pythons_own(said):
            continue
        # Interrupted in code made from a string, Python ends by the signal itself: 130 to a shell, too.
        assert process.returncode in (130, -signal.SIGINT), said
        first, *more = said[said.index("swapbench: interrupted") :].splitlines()
        assert first.startswith("swapbench: interrupted")
        assert len(more) <= (arguments[0] == "run")
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGINT, 130, "interrupted by the user"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
@pytest.mark.slow
def test_what_ended_a_run_is_told_and_the_next_command_works_as_printed(
    number: signal.Signals, code: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "scripted.toml").write_text(toml(raw_experiment(rounds=60, warmup=0)))
    process = _begin(tmp_path, "run", "scripted.toml", "--out", "else where")
    assert process.stderr is not None
    while "  up:" not in (line := process.stderr.readline()) and line:
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert not [child for child in children if child.is_running()]
    ((folder, info),) = list_runs(tmp_path / "else where")
    assert (info.status, info.failure) == ("interrupted", says)
    assert f"swapbench: {says.removesuffix(' by the user')}; every finished swap is kept in" in said
    (command,) = (part for part in said.split("`") if "--resume" in part)
    resumed = subprocess.run(
        f"{sys.executable} -m {command}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert read(folder).info.status == "complete"


def test_who_is_told_to_ignore_hangups_goes_on(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml(raw_experiment(rounds=60, warmup=0)))
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "swapbench", "run", "scripted.toml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "  up:" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0

"""The real command line in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.forking import run_forked_text

_OF_A_CI_SYSTEM = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTHONPATH")


def swapbench(
    folder: Path, *arguments: str | Path, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What `swapbench` says to these arguments, called in that folder; no traceback is ever among it."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_CI_SYSTEM}
    words, variables = [*map(str, arguments)], inherited | environment
    if python == sys.executable:
        done = run_forked_text(words, folder, variables)
    else:
        done = subprocess.run(
            [python, "-m", "swapbench", *words],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that explains why it did nothing."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("swapbench: ")
    assert done.stdout == ""
    return line.removeprefix("swapbench: ")

"""A runner to carry steps out on."""

import os
import shutil
from pathlib import Path

import pytest

from tests.workflows.running import GH, HERE, SHA, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.workspace.mkdir()
    made.temp.mkdir()
    made.env = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_BASE_REF": "",
        "GITHUB_REPOSITORY": "someone/project",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_RUN_ID": "7",
        "GITHUB_SHA": SHA,
        "GITHUB_EVENT_NAME": "push",
        "RUNNER_TEMP": str(made.temp),
        "SWAPBENCH_CACHE": str(tmp_path / "cache"),
        "PATH": f"{HERE / 'bin'}:{os.environ['PATH']}",
    }
    return made


@pytest.fixture
def installed(machine: Machine) -> Machine:
    """A checkout in which `make` has set up .venv: the one in which this test runs."""
    (machine.workspace / ".venv").symlink_to(HERE)
    return machine


@pytest.fixture
def gh(machine: Machine) -> Path:
    """A stand-in for GitHub's service; its answers come from GH_ANSWERS."""
    if shutil.which("jq") is None:
        pytest.skip("no jq, which the stand-in for gh needs")
    calls = machine.stand_in(machine.root / "programs" / "gh", GH)
    machine.env["PATH"] = f"{machine.root / 'programs'}:{machine.env['PATH']}"
    machine.env["GH_TOKEN"] = "none"
    return calls

"""Every shell step that can run on Linux is run by a test, as it stands in the workflow.

GitHub's service is played by a `gh` that writes down what it is asked; swapbench is the real one, but for
`swapbench gate`, whose part here is how it is called and what becomes of its exit code.
"""

import subprocess
from importlib import import_module
from typing import Final

import pytest

from tests.workflows.reading import ROOT, SHELL_STEPS, step_called
from tests.workflows.running import run_here

# Not run here, and why: these would run this very test, or install what is installed. That `make` knows what
# they ask of it is tested.
DRY: Final = {
    ("test.yml", "Lint"): "is what CI runs before the tests",
    ("test.yml", "Test"): "is what is running now",
    ("test.yml", "Slow tests"): "are run after these",
    ("gate.yml", "Install"): "is how the environment came about in which this runs",
    ("truth.yml", "Install"): "likewise",
}


def test_every_shell_step_is_run_here_or_has_a_reason_not_to_be() -> None:
    for name in ("test", "gate", "comment", "truth", "trend", "release", "action"):
        import_module(f"tests.workflows.test_{name}_steps")
    assert {(step.file, step.name) for step in SHELL_STEPS} == run_here | set(DRY)
    assert not run_here & set(DRY)


@pytest.mark.parametrize("file_and_name", DRY, ids=": ".join)
def test_make_knows_what_it_is_asked_for(file_and_name: tuple[str, str]) -> None:
    step = step_called(*file_and_name)
    command = step.script.split()
    assert command[0] == "make"
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", *command[1:]], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0

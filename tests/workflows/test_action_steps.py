"""The action that other projects use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

from swapbench.base.errors import Exit
from tests.workflows.reading import ROOT, Step
from tests.workflows.running import HERE, Done, Machine, calls_in, runs


@pytest.fixture
def environment(machine: Machine) -> Path:
    """Where the action installs to, with all that pip would fetch already here: there may be no network."""
    libraries = next((HERE / "lib").glob("python*/site-packages"))
    machine.env |= {"PYTHONPATH": str(libraries), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    machine.env["PIP_NO_INDEX"] = "1"
    return machine.temp / "swapbench-environment"


def wheel(folder: Path) -> str:
    """A package with a command called swapbench: one that takes no time to build."""
    path, about = folder / "swapbench-1.0-py3-none-any.whl", "swapbench-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: swapbench\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", "[console_scripts]\nswapbench = swapbench:main\n")
        archive.writestr(f"{about}/RECORD", "")
    return str(path)


def action(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return runs("action.yml", name)


@action("Install swapbench and the project")
@pytest.mark.slow
def test_the_action_installs_itself_and_the_project(machine: Machine, environment: Path, step: Step) -> None:
    done = machine.run(
        step,
        ENVIRONMENT=str(environment),
        SWAPBENCH=str(ROOT),
        INSTALL="python -c 'import sys; print(sys.prefix)' > where",
    )
    assert done.code == 0, done.said
    assert (machine.workspace / "where").read_text().strip() == str(environment)
    assert (environment / "bin" / "swapbench").exists()


@action("Install swapbench and the project")
@pytest.mark.slow
def test_a_project_that_can_not_be_installed_fails(machine: Machine, environment: Path, step: Step) -> None:
    given = {"ENVIRONMENT": str(environment), "SWAPBENCH": wheel(machine.temp)}
    done = machine.run(step, INSTALL="false; true", **given)
    assert (environment / "bin" / "swapbench").exists()
    assert done.code == 1


def values_of_the_action(machine: Machine, **changes: str) -> dict[str, str]:
    """What the inputs' defaults make of the gate's environment."""
    return {
        "ENVIRONMENT": str(HERE),
        "SWAPBENCH": str(ROOT),
        "INSTALL": "touch installed",
        "EXPERIMENT": "ci/swap.toml",
        "BASE": "",
        "BASELINE": "",
        "MODELS": "",
        "SETTINGS": "",
        "PAIRS": "",
        "ON_INCONCLUSIVE": "warn",
        "OUT": str(machine.temp / "swapbench" / "results"),
        "REPORTS": str(machine.temp / "swapbench" / "reports"),
    } | changes


@action("Preflight")
@pytest.mark.skipif(sys.platform != "linux", reason="here MLX has a GPU")
@pytest.mark.parametrize(("device", "code"), [("cpu", 0), ("gpu", Exit.FAILED)])
def test_the_action_looks_at_the_device(machine: Machine, step: Step, device: str, code: int) -> None:
    assert machine.run(step, ENVIRONMENT=str(HERE), DEVICE=device).code == code


@action("Make the models")
def test_the_action_makes_the_models(machine: Machine, step: Step) -> None:
    calls = machine.stand_in(machine.temp / "bin" / "swapbench")
    assert machine.run(step, ENVIRONMENT=str(machine.temp), EXPERIMENT="ci/swap.toml").code == 0
    assert calls_in(calls) == [["models", "synth", "ci/swap.toml"]]


def gated(machine: Machine, step: Step, **changes: str) -> tuple[list[str], Done]:
    """How the action calls the gate, and what came of it."""
    calls = machine.stand_in(machine.temp / "bin" / "swapbench")
    values = values_of_the_action(machine, ENVIRONMENT=str(machine.temp), **changes)
    done = machine.run(step, **values)
    (call,) = calls_in(calls)
    assert call[:2] == ["gate", "ci/swap.toml"]
    return call[2:], done


def value_after(option: str, call: list[str]) -> str:
    return call[call.index(option) + 1]


@action("Gate")
@pytest.mark.parametrize(
    ("asked", "into", "expected"),
    [("", "main", "origin/main"), ("", "", "HEAD~1"), ("v1.2", "main", "v1.2")],
)
def test_what_the_action_compares_with(
    machine: Machine, step: Step, asked: str, into: str, expected: str
) -> None:
    call, done = gated(machine, step, BASE=asked, GITHUB_BASE_REF=into)
    assert (done.code, value_after("--base", call)) == (0, expected)
    assert value_after("--python", call) == str(machine.temp / "bin" / "python")
    assert value_after("--on-inconclusive", call) == "warn"
    assert not {"--models", "--pairs", "--set", "--baseline"} & set(call)


@action("Gate")
def test_every_input_reaches_the_gate_as_it_was_written(machine: Machine, step: Step) -> None:
    call, _ = gated(
        machine,
        step,
        BASE='v1 "$(touch pwned)"',
        MODELS="hub",
        PAIRS="20",
        SETTINGS='gate.margin=0.25\n\nworkload.requests=2\ntitle="$(touch pwned) `touch pwned`"',
        ON_INCONCLUSIVE="fail",
    )
    assert value_after("--base", call) == 'v1 "$(touch pwned)"'
    assert (value_after("--models", call), value_after("--pairs", call)) == ("hub", "20")
    assert [call[n + 1] for n, word in enumerate(call) if word == "--set"] == [
        "gate.margin=0.25",
        "workload.requests=2",
        'title="$(touch pwned) `touch pwned`"',
    ]
    assert not (machine.workspace / "pwned").exists()


@action("Gate")
def test_a_baseline_of_the_project_is_where_the_gate_looks_for_it(machine: Machine, step: Step) -> None:
    run = Path("baselines", "quiet night", "quick", "day-1", "run.json")
    kept = machine.workspace / "results" / run
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    call, _ = gated(machine, step, BASELINE="quiet night", PAIRS="20")
    assert value_after("--baseline", call) == "quiet night"
    assert not {"--base", "--build", "--pairs"} & set(call)
    assert (Path(value_after("--out", call)) / run).is_file()


@action("Gate")
@pytest.mark.slow
def test_the_other_commit_is_built_as_this_one_was(machine: Machine, environment: Path, step: Step) -> None:
    call, _ = gated(machine, step)
    checkout = machine.root / "worktree"
    checkout.mkdir()
    subprocess.run(
        ["sh", "-ec", value_after("--build", call)],
        cwd=checkout,
        env=os.environ | machine.env | values_of_the_action(machine, SWAPBENCH=wheel(machine.temp)),
        check=True,
        capture_output=True,
    )
    assert (checkout / "installed").exists()
    assert (checkout / ".venv" / "bin" / "swapbench").exists()


VERDICTS: Final = {
    Exit.OK: "pass",
    Exit.CRASH: "crash",
    Exit.USAGE: "usage",
    Exit.REGRESSION: "regression",
    Exit.TARGET_MISSED: "target-missed",
    Exit.LEAK: "leak",
    Exit.INCONCLUSIVE: "inconclusive",
    Exit.FAILED: "failed",
    Exit.HUNG_UP: "interrupted",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "interrupted",
}


@action("Gate")
@pytest.mark.parametrize("code", Exit)
def test_the_exit_code_becomes_a_verdict_and_stays_the_exit_code(
    machine: Machine, step: Step, code: Exit
) -> None:
    _, done = gated(machine, step, STAND_IN_EXIT=str(int(code)))
    assert done.code == code
    assert done.outputs == {"verdict": VERDICTS[code], "exit-code": str(int(code))}

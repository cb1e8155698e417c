"""The gate on real MLX: changes to the loader of a real repository, measured against the commit before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import UNPROVEN
from tests.repository import BUILD, commit, with_swapbench
from tests.repository import environment as make_environment

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ONE_WAY = 'scenario=[{name = "there", from = "smollm2", to = "gemma-3"}]'

# The module's own function goes on to do all the work, more often than it should.
SLOWED = """
_once = load_weights
def load_weights(checkpoint, span):
    for _ in range(29):
        _once(checkpoint, lambda name: __import__("contextlib").nullcontext())
    return _once(checkpoint, span)
"""


def test_a_loader_that_does_its_work_many_times_fails_the_gate_and_load_stands_out(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    project = with_swapbench(tmp_path / "project")
    commit(project, "README.md", "A project.\n")
    python = make_environment(project)
    loader = project / "swapbench" / "loaders" / "stock.py"
    loader.write_text(loader.read_text(encoding="utf-8") + SLOWED, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "swapbench", "gate", "quick", "--base", "HEAD", "--pairs", "6"),
            *("--python", str(python), "--build", BUILD, "--reports", "reports", "--quiet", "--set", ONE_WAY),
            *("--set", "gate.margin=0.25", "--set", "gate.confirm=false", "--set", "gate.soak_swaps=0"),
            *("--set", "workload.requests=0", "--set", "workload.agents=0", *UNPROVEN),
        ],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    gate = json.loads((project / "reports" / "gate.json").read_text(encoding="utf-8"))
    (scenario,) = gate["scenarios"]
    assert (scenario["scenario"], scenario["outcome"]) == ("there", "regression")
    (compared,) = gate["comparison"]["scenarios"]
    slower = {phase["figure"]: phase["b"]["point"] - phase["a"]["point"] for phase in compared["phases"]}
    assert max(slower, key=lambda phase: slower[phase]) == "load"

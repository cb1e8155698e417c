"""What timings do not show: a dozen faults of real swappers, each injected, each named."""

import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.findings import Findings, analyse
from swapbench.store import list_runs, read

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def _findings(fault: str, folder: Path, environment: dict[str, str]) -> Findings:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.faulty", fault, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ((run, _),) = list_runs(folder)
    return analyse(read(run))


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("boot-model", "boot model kept", "as much as smollm2"),
        ("python-lock", "health checks stall", "nothing else in the process runs meanwhile"),
        ("blocks", "KV budget drifts", "the budget is not kept in bytes"),
        ("outside-mlx", "allocator keeps memory", "no counter of MLX's shows"),
        ("wedged", "wedged", "no swap has succeeded since"),
    ],
)
def test_a_fault_that_only_figures_show_is_named(
    fault: str, kind: str, says: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    symptoms = _findings(fault, tmp_path, environment).symptoms
    assert kind in {symptom.kind for symptom in symptoms}
    assert any(says in symptom.text for symptom in symptoms)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("long-prompts", "rolled_back", "a prompt of 64 tokens as smollm2 does: the old model's weights"),
        ("no-engine", "failed", "rolling back failed too: no engine runs"),
        ("lost-request", "rolled_back", "request-1 was taken, and will never be answered"),
        ("engine-breaks", "rolled_back", "reinit failed: engine gemma-3 broke: out of streams"),
        ("carried-too-long", "rolled_back", "reinit failed: request request-1 takes"),
        ("no-room", "refused", "no room to evict: 0.2 MB of KV caches, and 0.0 MB of disk free at"),
        ("lost-client", "rolled_back", "was taken, and will never be answered"),
    ],
)
def test_a_fault_that_a_client_would_feel_fails_the_swap(
    fault: str, kind: str, says: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    problem = _findings(fault, tmp_path, environment).problems[0]
    assert problem.kind == kind
    assert says in problem.reason

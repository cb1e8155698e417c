"""EXP-014 as a user runs it: every fault is told, and everything goes on."""

import pytest

from swapbench.findings import analyse
from swapbench.store import list_runs, read
from tests.e2e.conftest import Cli

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SAYS = {
    "missing-shard-before": ("refused", "model.safetensors is missing"),
    "other-shapes-before": ("refused", "Expected shape"),
    "memory-limit-before": ("refused", "does not fit"),
    "disk-full": ("rolled_back", "the cache of agent-1 can't be written to"),
    "missing-shard": ("rolled_back", "damaged: model.safetensors is missing"),
    "truncated-shard": ("rolled_back", "load failed: "),
    "corrupt-header": ("rolled_back", "load failed: "),
    "other-shapes": ("rolled_back", "damaged: Expected shape"),
    "memory-limit": ("rolled_back", "load failed: large does not fit"),
    "killed": ("rolled_back", "the worker was killed by SIGKILL in load"),
    "drain-never-ends": ("failed", "engine small is stuck: a step has not ended in 2 s"),
}


def test_every_fault_is_told_and_the_old_model_answers_with_its_caches(cli: Cli, tmp_path: object) -> None:
    done = cli("run", "exp014-faults", "--out", f"{tmp_path}/results")
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    ((folder, info),) = list_runs(tmp_path / "results")  # type: ignore[operator]
    findings = analyse(read(folder))
    assert info.status == "complete"
    assert {p.scenario: p.kind for p in findings.problems} == {name: kind for name, (kind, _) in SAYS.items()}
    for problem in findings.problems:
        assert SAYS[problem.scenario][1] in problem.reason
    for failure in findings.failures:
        if failure.status == "rolled_back":
            assert failure.back_s is not None
            assert (failure.readable_caches, failure.broken_caches) == (2, 0)
    assert [(s.name, s.counts.counted) for s in findings.scenarios[-2:]] == [("sound", 1), ("and-back", 1)]

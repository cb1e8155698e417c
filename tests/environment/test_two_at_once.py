"""Two runs at once: each has a folder of its own, and is told of the other."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.e2e.conftest import UNPROVEN, environment, model_cache
from tests.scripted import toml

__all__ = ["environment", "model_cache"]

pytestmark = pytest.mark.e2e

_TOLD = "another run of swapbench goes on on this machine (process "
_NOTED = "another run of swapbench went on on this machine at the same time: they disturb each other"


def _begin(folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swapbench", "run", *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_that_begin_in_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    words = ("scripted.toml", "--rounds", "1", "--quiet")
    both = [_begin(tmp_path, {}, *words) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    runs = [read(folder) for folder, _ in list_runs(tmp_path / "results")]
    assert [(run.info.status, len(run.swaps)) for run in runs] == [("complete", 2)] * 2
    for process in both:
        process.communicate()


@pytest.mark.slow
def test_each_of_two_is_told_of_the_other(environment: dict[str, str], tmp_path: Path) -> None:
    first = _begin(tmp_path, environment, "quick", "--rounds", "200", *UNPROVEN)
    assert first.stderr is not None
    while "round 1" not in (line := first.stderr.readline()):
        assert line
    refused = _begin(tmp_path, environment, "quick", "--strict")
    _, said = refused.communicate()
    assert refused.returncode == 2
    assert said.startswith(f"swapbench: {_TOLD}{first.pid})")
    assert "leave --strict out" in said
    assert len(list_runs(tmp_path / "results")) == 1
    second = _begin(tmp_path, environment, "quick", "--rounds", "1", "--warmup", "0", *UNPROVEN)
    _, said = second.communicate()
    assert second.returncode == 0, said
    assert f"warning: {_TOLD}{first.pid})" in said
    first.send_signal(signal.SIGINT)
    first.communicate()
    for folder, _ in list_runs(tmp_path / "results"):
        assert _NOTED in read(folder).info.notes

"""Models that two ranks share, from the command line to the files on disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swapbench.store import Run, list_runs, read
from tests.e2e.conftest import UNPROVEN, Cli
from tests.frames import frame

pytestmark = pytest.mark.e2e

ONCE = ("--rounds", "1", "--warmup", "0")


def _only_run(folder: Path) -> Run:
    ((path, _),) = list_runs(folder / "results")
    return read(path)


def test_a_sharded_model_is_swapped_measured_on_every_rank_and_answers_as_fresh_ranks_do(
    cli: Cli, tmp_path: Path
) -> None:
    # One of the two models is asked: fresh ranks take their time to start.
    asked = ("--set", "scenario.down.first_token=false")
    done = cli("run", "exp012-sharded", *ONCE, "--hosts", "2", *asked)
    assert done.returncode == 0, done.stderr
    assert "Ranks, median" in done.stdout
    run = _only_run(tmp_path)
    assert list(frame(run.swaps).status) == ["ok", "ok"]
    assert frame(run.swaps).verified_tokens.dropna().to_list() == [16]
    loads = frame(run.phases)[(frame(run.phases).phase == "load") & (frame(run.phases).span == "")]
    assert (
        loads.groupby("scenario")["rank"].apply(lambda ranks: sorted(ranks.dropna())).to_list()
        == [[0, 1]] * 2
    )
    assert loads.groupby("scenario")["rank"].size().to_list() == [3, 3]
    together = loads[loads["rank"].isna()].set_index("scenario").weight_bytes
    assert (together == frame(run.swaps).set_index("scenario").loaded_bytes).all()


@pytest.mark.slow
def test_the_machines_of_a_hostfile_are_started_by_mlx_launch(cli: Cli, tmp_path: Path) -> None:
    hosts = [{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}] * 2
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    mode = ("--set", "sharded.mode=pipeline")
    done = cli("run", "exp012-sharded", *ONCE, *UNPROVEN, *mode, "--hostfile", "hosts.json", "--json")
    assert done.returncode == 0, done.stderr
    assert [len(shared["ranks"]) for shared in json.loads(done.stdout)["sharing"]] == [2, 2]


def test_a_hostfile_that_is_not_there_is_a_mistake_of_the_command_line(cli: Cli) -> None:
    done = cli("run", "exp012-sharded", "--hostfile", "nowhere.json")
    assert done.returncode == 2
    assert "nowhere.json: No such file or directory; mlx.distributed_config writes hostfiles" in done.stderr


def test_ranks_are_for_sharded_targets(cli: Cli) -> None:
    done = cli("run", "quick", "--hosts", "2")
    assert done.returncode == 2
    assert 'a [sharded] table is for target = "sharded"' in done.stderr


@pytest.mark.slow
def test_no_rank_outlives_a_parent_that_is_killed_not_even_a_stopped_one(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "swapbench", "run", "exp012-sharded", "--rounds", "100", *UNPROVEN]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stderr is not None
        # Ranks have met once a round has begun.
        assert any("round 1" in line for line in parent.stderr)
        started = psutil.Process(parent.pid).children(recursive=True)
        ranks = [child for child in started if "MLX_RANK" in child.environ()]
        assert len(ranks) == 2
        ranks[0].suspend()
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []

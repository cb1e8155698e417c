"""What goes wrong for real: broken checkpoints, killed processes, Ctrl-C, and going on afterwards."""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swapbench.store import Run, list_runs, read
from tests.e2e.conftest import UNPROVEN, Cli
from tests.frames import frame
from tests.repository import ROOT

pytestmark = pytest.mark.e2e


def _missing_shard(checkpoint: Path) -> None:
    """Two shards, of which the second never arrived."""
    whole = next(checkpoint.glob("model*.safetensors"))
    data = whole.read_bytes()
    (header_bytes,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + header_bytes])
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda name: header[name]["data_offsets"][0])
    kept = {name: header[name] for name in names[: len(names) // 2]}
    end = max(entry["data_offsets"][1] for entry in kept.values())
    text = json.dumps(kept).encode()
    shard = struct.pack("<Q", len(text)) + text + data[8 + header_bytes :][:end]
    (checkpoint / "model-00001-of-00002.safetensors").write_bytes(shard)
    whole.unlink()


def _truncated(checkpoint: Path) -> None:
    shard = next(checkpoint.glob("model*.safetensors"))
    os.truncate(shard, shard.stat().st_size // 2)


def _corrupt_header(checkpoint: Path) -> None:
    shard = next(checkpoint.glob("model*.safetensors"))
    with shard.open("r+b") as file:
        file.seek(8)
        file.write(b"this is not JSON at all")


def _other_shapes(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    text = config.get("text_config", config)
    text["intermediate_size"] *= 2
    path.write_text(json.dumps(config))


def _beyond_memory(checkpoint: Path) -> None:
    """A sparse file of 4 TB that mlx-lm drops by its tensors' names: its size is real, its bytes are not."""
    tensors = {
        f"vision_tower.{i}": {"dtype": "U8", "shape": [1 << 30], "data_offsets": [i << 30, (i + 1) << 30]}
        for i in range(4096)
    }
    header = json.dumps(tensors).encode()
    with (checkpoint / "model-huge.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + (4 << 40))


def _experiment(folder: Path, broken: Path, whole: Path) -> Path:
    path = folder / "broken.toml"
    path.write_text(
        f'source = "mini"\nrounds = 1\npage_cache = "as-is"\n[models]\n'
        f'whole = "{whole}"\nbroken = "{broken}"\n'
        '[[scenario]]\nname = "into-the-broken"\nfrom = "whole"\nto = "broken"\n'
        "[verify]\ntokens = 0\n[workload]\nrequests = 2\ndecode_tokens = 8\nagents = 1\ncache_tokens = 32\n"
    )
    return path


def _mini(model_cache: Path, name: str) -> Path:
    (found,) = model_cache.glob(f"mini/[!.]*{name}*/")
    return found


def _only_run(folder: Path) -> Run:
    ((path, _),) = list_runs(folder / "results")
    return read(path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_missing_shard, "are in none of its files (model.safetensors is not there)"),
        (_truncated, "model.safetensors is cut short"),
        (_corrupt_header, "model.safetensors has a corrupt header"),
        (_other_shapes, "config.json and weights have to be of one model"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_that_can_not_be_loaded_is_told_before_anything_runs(
    old: bool, damage: Callable[[Path], None], says: str, cli: Cli, model_cache: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(_mini(model_cache, "mollm"), broken)
    damage(broken)
    whole = _mini(model_cache, "emma")
    path = _experiment(tmp_path, *((whole, broken) if old else (broken, whole)))
    done = cli("run", str(path))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert "looking at broken" not in cli("run", str(path)).stderr
    assert not list_runs(tmp_path / "results")


def test_a_checkpoint_that_can_not_be_served_is_refused_and_the_old_model_goes_on(
    cli: Cli, model_cache: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(_mini(model_cache, "emma"), broken)
    _beyond_memory(broken)
    done = cli("run", str(_experiment(tmp_path, broken, _mini(model_cache, "mollm"))))
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (swap,) = frame(_only_run(tmp_path).swaps).to_dict("records")
    assert swap["status"] == "refused"
    assert swap["failed_phase"] == ""
    assert swap["error"].startswith("broken")
    assert math.isnan(swap["start_s"])


class _Background:
    """A run that goes on while the test does something to it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "swapbench", "run", "quick", "--rounds", "200", *UNPROVEN]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_for_swaps(self, count: int) -> None:
        """Until that many swaps have their row."""
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, self.process.communicate()
            runs = list_runs(self.folder / "results")
            if runs and len(read(runs[0][0]).swaps) >= count:
                return
            time.sleep(0.05)
        raise AssertionError("the run made no progress")

    def worker_pid(self) -> int:
        worker = _only_run(self.folder).info.worker
        assert worker is not None
        return worker.pid

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def background(tmp_path: Path, environment: dict[str, str]) -> _Background:
    run = _Background(tmp_path, environment)
    run.wait_for_swaps(3)
    return run


def test_a_killed_worker_is_a_recorded_failure(background: _Background, cli: Cli, tmp_path: Path) -> None:
    finished = len(_only_run(tmp_path).swaps)
    os.kill(background.worker_pid(), signal.SIGKILL)
    # Another worker goes on.
    background.wait_for_swaps(finished + 4)
    background.process.send_signal(signal.SIGINT)
    background.end()
    run = _only_run(tmp_path)
    assert (frame(run.swaps).status == "ok").sum() >= finished + 2
    (lost,) = frame(run.swaps)[frame(run.swaps).status != "ok"].to_dict("records")
    assert "killed by SIGKILL" in lost["error"]
    assert lost["status"] == "rolled_back"
    report = cli("report")
    assert report.returncode == 7
    assert "SIGKILL" in report.stdout


@pytest.mark.slow
def test_a_killed_parent_leaves_every_finished_swap_and_can_be_resumed(
    background: _Background, cli: Cli, tmp_path: Path
) -> None:
    worker = background.worker_pid()
    background.process.kill()
    background.end()
    before = _only_run(tmp_path)
    finished = len(before.swaps)
    assert finished >= 3
    assert cli("report").returncode in (0, 7)
    _shorten(before, rounds=(finished + 2) // 2 + 1)
    resumed = cli("run", "--resume", before.info.run_id)
    assert resumed.returncode == 0, resumed.stderr
    after = _only_run(tmp_path)
    assert after.info.status == "complete"
    assert len(after.swaps) > finished
    assert not frame(after.swaps).duplicated(["round", "scenario"]).any()
    assert not _alive(worker)


def _shorten(run: Run, rounds: int) -> None:
    """Have fewer rounds left to resume, as if fewer had been asked for."""
    path = run.folder / "run.json"
    info = json.loads(path.read_text())
    info["experiment"]["rounds"] = rounds
    path.write_text(json.dumps(info))


def test_ctrl_c_exits_with_130_and_keeps_what_was_measured(
    background: _Background, cli: Cli, tmp_path: Path
) -> None:
    worker = background.worker_pid()
    background.process.send_signal(signal.SIGINT)
    _, said = background.process.communicate(timeout=60)
    assert background.process.returncode == 130
    assert "Traceback" not in said
    assert "--resume" in said
    run = _only_run(tmp_path)
    assert run.info.status == "interrupted"
    assert (frame(run.swaps).status == "ok").sum() >= 3
    assert not _alive(worker)
    assert not list(tmp_path.glob("results/*/*/caches"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_swap_in_which_the_worker_stood_still_is_invalid(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.stopping", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = _only_run(tmp_path)
    stopped = frame(run.swaps)[frame(run.swaps).scenario == frame(run.swaps).scenario.iloc[0]]
    assert not stopped.valid.any()
    assert stopped.invalid_reason.str.fullmatch(
        r"the machine slept, or this process was stopped, for \d+\.\d s of it"
    ).all()
    assert (stopped.total_s > 3.0).all()
    assert frame(run.swaps)[frame(run.swaps).scenario != frame(run.swaps).scenario.iloc[0]].valid.all()

"""`swapbench run` on scripted experiments: the whole line but MLX, and what each outcome exits with."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from swapbench.store import list_runs, read
from tests.forking import run_forked_text
from tests.frames import frame
from tests.programs import FALSE
from tests.scripted import raw_experiment, toml


def _run(folder: Path, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    script = raw_experiment()["script"] | changes.pop("script", {})
    (folder / "scripted.toml").write_text(toml(raw_experiment(**changes) | {"script": script}))
    return _swapbench(folder, "run", "scripted.toml", *options)


def _swapbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked_text([*arguments], folder, os.environ)


def test_a_fine_run_exits_with_0_and_tells_where_its_results_are(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    ((folder, info),) = list_runs(tmp_path / "results")
    assert info.status == "complete"
    assert str(folder.relative_to(tmp_path)) in done.stderr
    assert info.command[:2] == ("swapbench", "run")


def test_a_missed_target_exits_with_4(tmp_path: Path) -> None:
    assert _run(tmp_path, script={"seconds": {"load": 100.0}}).returncode == 4


def test_a_leak_exits_with_5(tmp_path: Path) -> None:
    done = _run(tmp_path, "--rounds", "20", script={"leak_bytes": 50_000_000})
    assert done.returncode == 5
    assert "leak" in done.stdout


def test_an_inconclusive_verdict_exits_with_6_only_when_asked_to(tmp_path: Path) -> None:
    demand = ("--set", 'criterion=[{kind="no-leak"}]')
    assert _run(tmp_path, *demand).returncode == 0
    assert _run(tmp_path, "--strict", *demand).returncode == 6


def test_a_failed_swap_exits_with_7_and_the_run_goes_on(tmp_path: Path) -> None:
    failing = [{"scenario": "up", "round": 1, "fails_in": "load"}]
    done = _run(tmp_path, script={"swap": failing})
    assert done.returncode == 7
    ((folder, _),) = list_runs(tmp_path / "results")
    assert list(frame(read(folder).swaps).status) == ["ok", "ok", "rolled_back", "ok", "ok", "ok"]


def test_fail_fast_stops_there(tmp_path: Path) -> None:
    failing = [{"scenario": "up", "round": 1, "fails_in": "load"}]
    assert _run(tmp_path, "--fail-fast", script={"swap": failing}).returncode == 7
    ((folder, _),) = list_runs(tmp_path / "results")
    assert len(read(folder).swaps) == 3


def test_a_worker_that_dies_exits_with_7_and_another_goes_on(tmp_path: Path) -> None:
    dying = [{"scenario": "up", "round": 1, "fails_in": "load", "failure": "kill"}]
    done = _run(tmp_path, script={"swap": dying})
    assert done.returncode == 7
    assert "Traceback" not in done.stdout + done.stderr
    assert "killed by SIGKILL in load" in done.stderr
    ((folder, info),) = list_runs(tmp_path / "results")
    assert info.status == "complete"
    assert len(read(folder).swaps) == 6


def test_a_run_that_failed_fast_can_be_resumed(tmp_path: Path) -> None:
    dying = [{"scenario": "up", "round": 1, "fails_in": "load", "failure": "kill"}]
    first = _run(tmp_path, "--fail-fast", script={"swap": dying})
    assert first.returncode == 7
    assert "Traceback" not in first.stdout + first.stderr
    ((folder, info),) = list_runs(tmp_path / "results")
    assert info.status == "incomplete"
    resumed = _swapbench(tmp_path, "run", "--resume", info.run_id)
    run = read(folder)
    assert run.info.status == "complete"
    assert len(run.swaps) == 6
    # The swap in which the worker died stays a failure.
    assert resumed.returncode == 7
    again = _swapbench(tmp_path, "run", "--resume", info.run_id)
    assert again.returncode == 2
    assert "complete" in again.stderr


def test_out_says_where_runs_are_kept(tmp_path: Path) -> None:
    assert _run(tmp_path, "--out", "elsewhere").returncode == 0
    assert list_runs(tmp_path / "elsewhere")
    assert not (tmp_path / "results").exists()


def test_options_are_overrides_and_are_recorded(tmp_path: Path) -> None:
    done = _run(tmp_path, "--rounds", "2", "--warmup", "1", "--page-cache", "as-is", "--set", "target_s=9")
    assert done.returncode == 0, done.stderr
    ((_, info),) = list_runs(tmp_path / "results")
    chosen = {key: info.experiment[key] for key in ("rounds", "warmup", "page_cache", "target_s")}
    assert chosen == {"rounds": 2, "warmup": 1, "page_cache": "as-is", "target_s": 9.0}


def test_a_wrong_option_leaves_no_run_behind(tmp_path: Path) -> None:
    assert _run(tmp_path, "--page-cache", "hot").returncode == 2
    assert not (tmp_path / "results").exists()


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    lines = _run(tmp_path, "--rounds", "1", "--warmup", "1").stderr.splitlines()
    # What is said of the machine depends on it.
    said = [line for line in lines if not line.startswith("note: ")]
    assert said[1:5] == [
        "warm-up 1/1",
        "  up: 3.300 s, first token at 3.400 s",
        "  down: 3.300 s, first token at 3.400 s",
        "round 1/1",
    ]


def test_quiet_says_nothing_but_the_report(tmp_path: Path) -> None:
    done = _run(tmp_path, "--quiet")
    assert "round" not in done.stderr
    assert "up" in done.stdout


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("/nowhere/python", "No such file or directory; name a Python interpreter"),
        (FALSE, "can't run swapbench's worker"),
        ("bin/python", "its swapbench speaks wire version 999"),
    ],
)
def test_an_interpreter_that_can_not_be_used_is_told_before_there_is_a_run(
    python: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho 999\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    done = _run(tmp_path, "--python", python)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{python}: {why}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_nor_does_it_go_on_with_a_run(tmp_path: Path) -> None:
    failing = [{"scenario": "up", "round": 1, "fails_in": "load"}]
    _run(tmp_path, "--fail-fast", script={"swap": failing})
    ((folder, info),) = list_runs(tmp_path / "results")
    done = _swapbench(tmp_path, "run", "--resume", info.run_id, "--python", "/nowhere/python")
    assert done.returncode == 2
    assert list_runs(tmp_path / "results") == [(folder, info)]


def test_a_run_whose_interpreter_speaks_another_version_now_is_not_resumed(tmp_path: Path) -> None:
    _run(tmp_path, "--fail-fast", script={"swap": [{"scenario": "up", "round": 1, "fails_in": "load"}]})
    ((folder, info),) = list_runs(tmp_path / "results")
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 999\n")
    other.chmod(0o755)
    (folder / "run.json").write_text(info.model_copy(update={"python": str(other)}).model_dump_json())
    done = _swapbench(tmp_path, "run", "--resume", str(folder))
    assert done.returncode == 2
    assert f"{other}: its swapbench speaks wire version 999" in done.stderr

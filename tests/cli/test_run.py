"""`swapbench run` and `ab` on scripted experiments: all but MLX, and what each outcome exits with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, UsageError
from swapbench.cli import app
from swapbench.run.arms import Asked
from swapbench.run.runner import Observer
from swapbench.store import list_runs, read
from swapbench.wire.events import Note
from tests.cli.invoking import error_of, swapbench
from tests.frames import frame
from tests.played import played
from tests.programs import FALSE
from tests.scripted import raw_experiment, toml


def _run(folder: Path, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    script = raw_experiment()["script"] | changes.pop("script", {})
    (folder / "scripted.toml").write_text(toml(raw_experiment(**changes) | {"script": script}))
    return swapbench(folder, "run", "scripted.toml", *options)


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
    resumed = swapbench(tmp_path, "run", "--resume", info.run_id)
    run = read(folder)
    assert run.info.status == "complete"
    assert len(run.swaps) == 6
    # The swap in which the worker died stays a failure.
    assert resumed.returncode == 7
    again = swapbench(tmp_path, "run", "--resume", info.run_id)
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
    done = swapbench(tmp_path, "run", "--resume", info.run_id, "--python", "/nowhere/python")
    assert done.returncode == 2
    assert list_runs(tmp_path / "results") == [(folder, info)]


def test_a_run_whose_interpreter_speaks_another_version_now_is_not_resumed(tmp_path: Path) -> None:
    _run(tmp_path, "--fail-fast", script={"swap": [{"scenario": "up", "round": 1, "fails_in": "load"}]})
    ((folder, info),) = list_runs(tmp_path / "results")
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 999\n")
    other.chmod(0o755)
    (folder / "run.json").write_text(info.model_copy(update={"python": str(other)}).model_dump_json())
    done = swapbench(tmp_path, "run", "--resume", str(folder))
    assert done.returncode == 2
    assert f"{other}: its swapbench speaks wire version 999" in done.stderr


def ab(folder: Path, *options: str) -> list[str]:
    (folder / "scripted.toml").write_text(toml())
    return ["ab", "scripted.toml", "--pairs", "6", *options]


def played_ab(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """The command, but for the workers."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("swapbench.run.runner.carry_out", lambda job, _observer: played(job))
    return CliRunner().invoke(app, ab(folder, *options))


def test_ab_measures_both_in_one_run_and_compares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = played_ab(tmp_path, monkeypatch, "--b-set", "script.seconds.load=4.0", "--json")
    assert done.exit_code == Exit.REGRESSION, done.stderr
    (compared,) = json.loads(done.stdout)["comparisons"]
    assert compared["paired"] is True
    assert compared["turns"] == "ABBAABBAABBAAB"
    assert (compared["a"]["label"], compared["b"]["label"]) == ("A", "script.seconds.load=4.0")
    assert len(list((tmp_path / "results" / "scripted").iterdir())) == 1


def test_aa_tells_the_noise_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = played_ab(tmp_path, monkeypatch, "--aa", "--order", "random", "--seed", "3", "--quiet")
    assert done.exit_code == Exit.OK, done.stderr
    assert "Noise floor" in done.stdout
    assert "at random, seeded" in done.stdout
    assert done.stderr.startswith("results: results/scripted/")


@pytest.mark.parametrize("options", [["--quiet"], ["--json"], ["--json", "--verbose"]])
def test_json_means_quiet_unless_an_explanation_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    def carry_out(_job: object, observer: Observer) -> None:
        observer.on(Note(text="somebody watches"))
        raise UsageError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swapbench.run.runner.carry_out", carry_out)
    done = CliRunner().invoke(app, ab(tmp_path, "--aa", *options))
    assert ("somebody watches" in done.stderr) == ("--verbose" in options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to compare; give interpreters by --a and --b"),
        (["--aa", "--a-set", "rounds=3"], "--aa compares a thing with itself: leave out --a, --b, "),
        (["--aa", "--a", "python"], "--aa compares a thing with itself: leave out --a, --b, "),
        (["--b", "/nowhere/python"], "/nowhere/python: No such file or directory; name a Python interpreter"),
        (["--b-set", "script.seconds.load=3.0"], "A and B are the same: check --a, --b, "),
        (["--b-set", "warmup=2"], "warmup is 0 in A and 2 in B: what both arms have in common is set with"),
    ],
)
def test_ab_says_what_is_wrong_before_it_measures(tmp_path: Path, options: list[str], said: str) -> None:
    done = swapbench(tmp_path, *ab(tmp_path, *options))
    assert done.returncode == Exit.USAGE
    assert error_of(done).startswith(said)
    assert not (tmp_path / "results").exists()


def test_five_pairs_are_refused(tmp_path: Path) -> None:
    command = ab(tmp_path, "--aa")
    command[command.index("6")] = "5"
    assert swapbench(tmp_path, *command).returncode == Exit.USAGE
    assert not (tmp_path / "results").exists()


def test_an_interpreter_of_an_arm_is_kept_by_a_path_that_leads_there_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Asked] = []

    def make_arms(_file: Path, _common: object, arms: list[Asked], *_: object) -> None:
        asked.extend(arms)
        raise UsageError("enough")

    monkeypatch.setattr("swapbench.run.arms.make_arms", make_arms)
    monkeypatch.chdir(tmp_path)
    python = tmp_path / "mine" / "python"
    python.parent.mkdir()
    python.touch(mode=0o755)
    CliRunner().invoke(app, ["ab", "quick", "--a", "mine/python"])
    assert [arm.python for arm in asked] == [str(python), sys.executable]
    assert [arm.label for arm in asked] == ["mine/python", ""]

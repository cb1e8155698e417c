"""What truth.yml measures is there the next time."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from swapbench.base.errors import Exit
from tests.workflows.reading import Step, step_called
from tests.workflows.running import Machine, calls_in, runs
from tests.workflows.test_truth_steps import PLAY


class Remote:
    """A repository as GitHub has it, and what its branch of runs holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True)

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def runs(self) -> list[str]:
        names = self.git("ls-tree", "-r", "--name-only", "truth-results").splitlines()
        return [name.removesuffix("/run.json") for name in names if name.endswith("/run.json")]


@pytest.fixture
def remote(machine: Machine) -> Remote:
    """What a step with REMOTE pushes to; `gh`, which would log git in, is there."""
    machine.stand_in(machine.root / "programs" / "gh")
    machine.env["PATH"] = f"{machine.root / 'programs'}:{machine.env['PATH']}"
    return Remote(machine.root / "remote.git")


def keep(machine: Machine, step: Step, remote: Remote, *measured: str, **values: str) -> int:
    """Carry the step out on a fresh machine, with what was measured, and say its exit code."""
    trend = machine.temp / "trend"
    shutil.rmtree(trend, ignore_errors=True)
    for run in measured:
        (trend / run).mkdir(parents=True)
        (trend / run / "run.json").write_text('{"status": "complete"}')
        (trend / run / "swaps.csv").write_text(run)
    return machine.run(step, GH_TOKEN="none", **{"REMOTE": str(remote.folder)} | values).code


kept = runs("truth.yml", "Add them to the branch")


@kept
def test_runs_are_added_to_those_of_before(machine: Machine, remote: Remote, step: Step) -> None:
    assert keep(machine, step, remote, "exp012/1") == 0
    assert keep(machine, step, remote, "exp012/2", "exp015-soak/2") == 0
    assert remote.runs() == ["exp012/1", "exp012/2", "exp015-soak/2"]
    assert remote.git("show", "truth-results:exp012/1/swaps.csv") == "exp012/1"
    assert calls_in(machine.root / "gh.calls") == [["auth", "setup-git"]] * 2


@kept
def test_the_oldest_are_dropped_and_leave_nothing_behind(
    machine: Machine, remote: Remote, step: Step
) -> None:
    keep(machine, step, remote, "exp012/1", "exp015-soak/2")
    dropped = remote.git("rev-parse", "truth-results:exp012/1/swaps.csv")
    assert keep(machine, step, remote, "exp012/3", MOST_RUNS="2") == 0
    assert remote.runs() == ["exp012/3", "exp015-soak/2"]
    assert remote.git("rev-list", "--count", "truth-results") == "1"
    assert dropped not in remote.git("rev-list", "--objects", "--all")


@kept
def test_what_was_broken_off_is_not_kept(machine: Machine, remote: Remote, step: Step) -> None:
    keep(machine, step, remote, "exp012/1")
    assert keep(machine, step, remote) == 0
    for name, document in (("2", '{"status": "interrupted"}'), ("3", ""), ("4", None)):
        broken = machine.temp / "trend" / "exp012" / name
        broken.mkdir(parents=True)
        if document is not None:
            (broken / "run.json").write_text(document)
    assert machine.run(step, GH_TOKEN="none", REMOTE=str(remote.folder)).code == 0
    assert remote.runs() == ["exp012/1"]


@kept
def test_a_repository_that_is_not_reached_is_not_taken_for_an_empty_one(
    machine: Machine, remote: Remote, step: Step
) -> None:
    assert keep(machine, step, remote, "exp012/1", REMOTE=str(machine.root / "nowhere")) != 0


RIVAL: Final = """#!/bin/sh
case "$*" in *commit-tree*) {git} -C "$REMOTE" update-ref refs/heads/truth-results "$THEIRS" ;; esac
exec {git} "$@"
"""


@kept
def test_who_pushed_in_between_loses_nothing(machine: Machine, remote: Remote, step: Step) -> None:
    keep(machine, step, remote, "exp012/1")
    ours = remote.git("rev-parse", "truth-results")
    keep(machine, step, remote, "exp012/2")
    theirs = remote.git("rev-parse", "truth-results")
    remote.git("update-ref", "refs/heads/truth-results", ours)
    machine.stand_in(machine.root / "programs" / "git", RIVAL.replace("{git}", shutil.which("git") or ""))
    assert keep(machine, step, remote, "exp012/3", THEIRS=theirs) != 0
    assert remote.runs() == ["exp012/1", "exp012/2"]
    (machine.root / "programs" / "git").unlink()
    assert keep(machine, step, remote, "exp012/3") == 0
    assert remote.runs() == ["exp012/1", "exp012/2", "exp012/3"]


@runs("truth.yml", "Run EXP-012 alone")
def test_the_history_has_the_runs_of_before(installed: Machine, remote: Remote, step: Step) -> None:
    (installed.workspace / "play.toml").write_text(PLAY)
    checkout = ["git", "-C", str(installed.workspace)]
    subprocess.run([*checkout, "init", "--quiet"], check=True)
    history = step_called("truth.yml", "Show the history")
    for times in (1, 2):
        assert installed.run(step, EXPERIMENT="./play.toml", MODELS="mini").code == 0
        fetched = [*checkout, "fetch", "--quiet", str(remote.folder), "+refs/heads/*:refs/remotes/origin/*"]
        subprocess.run(fetched, check=True)
        done = installed.run(history)
        assert done.code == 0, done.said
        rows = [line.split()[:2] for line in done.summary.splitlines()]
        assert ["up", str(times)] in rows
        assert ["down", str(times)] in rows
        assert (installed.workspace / "reports" / "history.md").read_text() == done.summary
        shutil.rmtree(installed.temp / "trend", ignore_errors=True)
        shutil.move(installed.workspace / "trend", installed.temp / "trend")
        kept_by = step_called("truth.yml", "Add them to the branch")
        assert installed.run(kept_by, GH_TOKEN="none", REMOTE=str(remote.folder)).code == 0
        shutil.rmtree(installed.workspace / "past")


@runs("truth.yml", "Show the history")
def test_where_nothing_was_measured_there_is_no_history(installed: Machine, step: Step) -> None:
    done = installed.run(step)
    assert done.code == Exit.USAGE
    assert "trend: no such folder" in done.said

"""What runs on our own Mac, and the issue that tells of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from swapbench.base.errors import Exit
from tests.workflows.reading import Step
from tests.workflows.running import MARKER, SELFCHECK, SHA, Machine, calls_in, runs


@runs("truth.yml", "Preflight")
@pytest.mark.skipif(sys.platform != "linux", reason="here MLX has a GPU")
def test_our_own_mac_is_looked_at_too(installed: Machine, step: Step) -> None:
    assert installed.run(step).code == Exit.FAILED


@pytest.fixture
def history(machine: Machine) -> list[str]:
    """Three commits in the workspace, two of them older than a day; oldest first."""

    def git(*words: str, date: str = "2020-01-01T00:00:00Z") -> str:
        settings = ("-c", "user.name=x", "-c", "user.email=x@example.invalid", "-c", "commit.gpgsign=false")
        env = os.environ | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", *settings, *words],
            cwd=machine.workspace,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "--quiet")
    commits = []
    for date in ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "2099-01-01T00:00:00Z"):
        git("commit", "--quiet", "--allow-empty", "--message", date, date=date)
        commits.append(git("rev-parse", "HEAD"))
    return commits


@runs("truth.yml", "Choose what to compare with")
@pytest.mark.parametrize(
    ("event", "before", "asked", "expected"),
    [
        ("push", 0, "", 0),
        ("push", "0" * 40, "", 1),
        ("push", "f" * 40, "", 1),
        ("schedule", "", "", 1),
        ("workflow_dispatch", "", "HEAD~2", 0),
        ("workflow_dispatch", "", "HEAD", 1),
        ("workflow_dispatch", "", "--output=x", 1),
    ],
)
def test_what_main_is_compared_with(
    machine: Machine,
    history: list[str],
    step: Step,
    event: str,
    before: int | str,
    asked: str,
    expected: int,
) -> None:
    was = history[before] if isinstance(before, int) else before
    done = machine.run(step, GITHUB_EVENT_NAME=event, BEFORE=was, ASKED=asked)
    assert done.code == 0, done.said
    assert done.outputs == {"commit": history[expected]}


@runs("truth.yml", "Gate EXP-012")
def test_the_real_experiment_is_gated_with_twenty_pairs(machine: Machine, step: Step) -> None:
    calls = machine.stand_in(machine.workspace / ".venv" / "bin" / "swapbench")
    assert machine.run(step, BASE=SHA).code == 0
    (call,) = calls_in(calls)
    assert call == [
        "gate",
        "exp012",
        "--models",
        "hub",
        "--base",
        SHA,
        "--pairs",
        "20",
        "--reports",
        "reports",
    ]


PLAY: Final = """
target = "scripted"
source = "mini"
models = { small = "s", large = "l" }
scenario = [{ name = "up", from = "small", to = "large" }, { name = "down", from = "large", to = "small" }]
[script]
seconds = { load = 1.0 }
"""
FAILING: Final = PLAY + 'swap = [{ scenario = "up", fails_in = "load" }]'


@runs("truth.yml", "Soak")
@pytest.mark.parametrize(("experiment", "code"), [(PLAY, Exit.OK), (FAILING, Exit.FAILED)])
def test_the_soak_is_reported_whatever_came_of_it(
    installed: Machine, step: Step, experiment: str, code: Exit
) -> None:
    (installed.workspace / "play.toml").write_text(experiment)
    done = installed.run(step, EXPERIMENT="./play.toml", MODELS="mini")
    assert done.code == code, done.said
    report = (installed.workspace / "reports" / "soak.md").read_text()
    assert report
    assert done.summary == report


@runs("truth.yml", "Self-check")
def test_what_is_wrong_on_our_own_mac_is_told_in_the_issue_too(machine: Machine, step: Step) -> None:
    machine.stand_in(machine.workspace / ".venv" / "bin" / "swapbench", SELFCHECK)
    done = machine.run(step, STAND_IN_EXIT="7")
    assert done.code == Exit.FAILED, done.said
    assert done.summary == "1 right, 1 wrong\n- wrong: msync: 4 of 4 pages\n"
    assert (machine.workspace / "reports" / "selfcheck.md").read_text() == done.summary
    assert (machine.workspace / "reports" / "selfcheck.json").exists()


@runs("truth.yml", "Write it")
def test_the_issue_says_what_came_of_which_run(machine: Machine, step: Step) -> None:
    (machine.temp / "report").mkdir()
    (machine.temp / "report" / "gate.md").write_text(f"{MARKER}\nto-large is slower\n" + "x" * 70_000)
    assert machine.run(step, RESULT="failure").code == 0
    issue = (machine.temp / "issue.md").read_text()
    assert issue.startswith("<!-- swapbench-truth -->\nLatest: **failure**, push of " + SHA)
    assert "(https://github.example/someone/project/actions/runs/7)" in issue
    assert "to-large is slower" in issue
    assert "No report" in issue.partition("## soak")[2]
    assert len(issue) < 65_536


@runs("truth.yml", "Write it")
def test_the_issue_is_no_longer_than_github_takes(machine: Machine, step: Step) -> None:
    (machine.temp / "report").mkdir()
    for part in ("gate", "history", "soak", "selfcheck"):
        (machine.temp / "report" / f"{part}.md").write_text(part * 10_000)
    assert machine.run(step, RESULT="failure").code == 0
    issue = (machine.temp / "issue.md").read_text()
    assert len(issue) < 65_536
    assert all(part * 1_000 in issue for part in ("gate", "history", "soak", "selfcheck"))


def issued(machine: Machine, step: Step, result: str, issues: list[dict[str, Any]]) -> None:
    (machine.temp / "issue.md").write_text("<!-- swapbench-truth -->\nLatest\n")
    answers = {"repos/someone/project/issues?state=open&per_page=100": issues}
    assert machine.run(step, RESULT=result, GH_ANSWERS=json.dumps(answers), GH_TOKEN="none").code == 0


issue = runs("truth.yml", "Open or update the issue")
LATEST: Final = "<!-- swapbench-truth -->\nLatest\n"


def filed(number: int, login: str, body: str | None, **more: Any) -> dict[str, Any]:
    return {"number": number, "user": {"login": login}, "body": body, **more}


@issue
@pytest.mark.parametrize("result", ["success", "failure"])
def test_the_open_issue_is_updated(machine: Machine, gh: Path, step: Step, result: str) -> None:
    bot = "github-actions[bot]"
    issued(
        machine,
        step,
        result,
        [
            filed(1, bot, None),
            filed(2, bot, LATEST, pull_request={}),
            filed(3, "x", LATEST),
            filed(4, bot, LATEST),
        ],
    )
    assert calls_in(gh)[-1] == ["PATCH", "repos/someone/project/issues/4", {"body": LATEST}]


@issue
def test_only_a_failure_opens_one(machine: Machine, gh: Path, step: Step) -> None:
    issued(machine, step, "success", [])
    assert [call[0] for call in calls_in(gh)] == ["GET"]
    issued(machine, step, "failure", [])
    method, path, fields = calls_in(gh)[-1]
    assert (method, path) == ("POST", "repos/someone/project/issues")
    assert fields["body"] == LATEST
    assert "EXP-012" in fields["title"]

"""The rules that every workflow keeps, so that a pull request can't get at what isn't its own."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.reading import ACTION, SHELL_STEPS, STEPS, WORKFLOWS, Step, document, steps_of

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
each_file = pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
each_shell_step = pytest.mark.parametrize("step", SHELL_STEPS, ids=lambda step: f"{step.file}: {step.name}")


def jobs_of(path: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = document(path)["jobs"]
    return jobs


def called(file: str) -> Path:
    (path,) = (path for path in WORKFLOWS if path.name == file)
    return path


def test_there_are_the_workflows_that_the_documentation_names() -> None:
    assert [path.name for path in WORKFLOWS] == [
        "gate-comment.yml",
        "gate.yml",
        "release.yml",
        "test.yml",
        "truth.yml",
    ]


@each_workflow
def test_nothing_is_permitted_but_what_a_job_asks_for(path: Path) -> None:
    assert document(path)["permissions"] == {}
    assert all("permissions" in job for job in jobs_of(path).values())


def test_who_may_write_what() -> None:
    writers = {
        (path.name, name): sorted(scope for scope, level in job["permissions"].items() if level != "read")
        for path in WORKFLOWS
        for name, job in jobs_of(path).items()
    }
    assert {job: scopes for job, scopes in writers.items() if scopes} == {
        ("gate-comment.yml", "comment"): ["pull-requests"],
        ("release.yml", "publish"): ["id-token"],
        ("release.yml", "release"): ["contents"],
        ("truth.yml", "issue"): ["issues"],
        ("truth.yml", "keep"): ["contents"],
    }


@each_file
def test_actions_are_pinned_by_commit_with_the_version_beside_it(path: Path) -> None:
    uses = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(uses) == sum(bool(step.uses) for step in steps_of(path))
    assert [
        line for line in uses if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ] == []


def test_an_action_has_one_pin_everywhere() -> None:
    pins = {step.uses for step in STEPS if step.uses}
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


def test_no_checkout_leaves_credentials_behind() -> None:
    checkouts = [step for step in STEPS if step.uses.startswith("actions/checkout@")]
    assert checkouts
    assert all(step.keys["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_every_job_ends_by_itself_and_only_one_runs_at_a_time(path: Path) -> None:
    assert {"group", "cancel-in-progress"} <= set(document(path)["concurrency"])
    assert all(0 < job["timeout-minutes"] <= 300 for job in jobs_of(path).values())


@each_shell_step
def test_no_script_has_anything_written_into_it(step: Step) -> None:
    """What an expression yields may be anybody's text; it goes through the environment."""
    assert "${{" not in step.script


@each_shell_step
def test_every_script_says_what_runs_it(step: Step) -> None:
    assert step.shell in ("bash", "python")


def test_artifacts_are_kept_whatever_happens() -> None:
    uploads = [step for step in STEPS if step.uses.startswith("actions/upload-artifact@")]
    whatever = {step.file for step in uploads if step.keys.get("if") == "always()"}
    assert whatever == {"action.yml", "gate.yml", "test.yml", "truth.yml"}
    # What is to be released has to be right before it is handed on.
    assert {step.file for step in uploads if "if" not in step.keys} == {"release.yml"}


def test_only_the_commenting_workflow_runs_with_more_than_a_pull_request_may() -> None:
    triggers = {path.name: set(document(path)["on"]) for path in WORKFLOWS}
    assert triggers == {
        "gate.yml": {"pull_request"},
        "gate-comment.yml": {"workflow_run"},
        "release.yml": {"push"},
        "test.yml": {"push", "pull_request"},
        "truth.yml": {"push", "schedule", "workflow_dispatch"},
    }


def test_the_commenting_workflow_never_has_code_of_a_pull_request() -> None:
    steps = steps_of(called("gate-comment.yml"))
    assert [step.uses.partition("@")[0] for step in steps if step.uses] == ["actions/download-artifact"]
    assert not [
        step.name
        for step in steps
        if re.search(r"\bgit\b|\bgh (repo|pr)\b|\bpip\b", step.keys.get("run", ""))
    ]
    assert document(called("gate-comment.yml"))["on"]["workflow_run"]["workflows"] == [
        document(called("gate.yml"))["name"]
    ]


def test_no_pull_request_gets_onto_our_own_machine() -> None:
    ours = {
        path.name for path in WORKFLOWS for job in jobs_of(path).values() if "self-hosted" in job["runs-on"]
    }
    assert ours == {"truth.yml"}
    assert document(called("truth.yml"))["on"]["push"] == {"branches": ["main"]}
    assert jobs_of(called("truth.yml"))["measure"]["if"] == "github.event.repository.fork != true"


@pytest.mark.parametrize(
    ("file", "job"),
    [("truth.yml", "issue"), ("truth.yml", "keep"), ("release.yml", "publish"), ("release.yml", "release")],
)
def test_what_may_write_has_no_checkout_and_runs_nothing_of_ours(file: str, job: str) -> None:
    steps = [step for step in steps_of(called(file)) if step.job == job]
    assert not [step for step in steps if step.uses.startswith("actions/checkout@")]
    assert not [
        step.name
        for step in steps
        if re.search(r"(?m)(^\s*|/|[|;&(]\s*)(swapbench|uvx?|pip|python) ", step.keys.get("run", ""))
    ]


def test_only_what_publishes_may_be_known_to_pypi_and_it_runs_one_action() -> None:
    jobs = jobs_of(called("release.yml"))
    assert [name for name, job in jobs.items() if "environment" in job] == ["publish"]
    steps = [step for step in steps_of(called("release.yml")) if step.job == "publish"]
    assert [step.uses.partition("@")[0] for step in steps] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert jobs["publish"]["environment"]["name"] == "pypi"


def test_a_wheel_is_tried_before_it_is_published_and_again_before_it_is_a_release() -> None:
    jobs = jobs_of(called("release.yml"))
    order = ["build", "try", "publish", "index", "release"]
    assert list(jobs) == order
    assert [jobs[name].get("needs") for name in order] == [None, *order[:-1]]


def test_what_is_tested_and_released_is_tried_on_linux_and_on_both_macs() -> None:
    machines = {
        (file, name): job["strategy"]["matrix"]["machine"]
        for file in ("test.yml", "release.yml")
        for name, job in jobs_of(called(file)).items()
        if "strategy" in job
    }
    assert set(machines) == {("test.yml", "test"), ("release.yml", "try"), ("release.yml", "index")}
    assert all(each == ["ubuntu-24.04", "macos-15", "macos-26"] for each in machines.values())


def test_who_gates_has_the_history_to_find_where_it_branched_off() -> None:
    for file in ("gate.yml", "truth.yml"):
        (checkout,) = (s for s in steps_of(called(file)) if s.uses.startswith("actions/checkout@"))
        assert checkout.keys["with"]["fetch-depth"] == 0


def test_the_device_is_looked_at_before_anything_is_gated() -> None:
    for path in (called("gate.yml"), called("truth.yml"), ACTION):
        scripts = [step.keys.get("run", "") for step in steps_of(path)]
        (preflight,) = (n for n, script in enumerate(scripts) if "doctor --device" in script)
        (gate,) = (n for n, script in enumerate(scripts) if re.search(r'swapbench"? gate', script))
        assert preflight < gate


def test_every_input_of_the_action_is_used_and_described() -> None:
    text = ACTION.read_text(encoding="utf-8")
    for name, declared in document(ACTION)["inputs"].items():
        assert declared["description"]
        assert f"inputs.{name}" in text

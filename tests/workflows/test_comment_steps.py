"""The comment that a gate's result becomes, and what it lets through of what was uploaded."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.workflows.reading import Step
from tests.workflows.running import MARKER, SHA, Done, Machine, calls_in, runs

RUN_URL: Final = "https://github.example/someone/project/actions/runs/7"


def looked_at(machine: Machine, step: Step, text: str | None, number: str = "12\n") -> Done:
    folder = machine.temp / "report"
    folder.mkdir()
    (folder / "number").write_text(number)
    if text is not None:
        (folder / "gate.md").write_text(text)
    return machine.run(step, CONCLUSION="failure", HEAD_SHA=SHA, RUN_URL=RUN_URL)


look = runs("gate-comment.yml", "Look at what was downloaded")


@look
def test_a_report_becomes_a_comment_with_a_link_to_its_run(machine: Machine, step: Step) -> None:
    table = "| scenario | change |\n|---|---|\n| to-qwen | **+31 %** (`ln`) |"
    done = looked_at(machine, step, f"{MARKER}\n{table}\n")
    assert (done.code, done.outputs) == (0, {"number": "12"})
    comment = (machine.temp / "report" / "comment.md").read_text()
    assert comment.startswith(f"{MARKER}\n{table}\n")
    assert comment.endswith(f"[failure, {SHA[:12]}]({RUN_URL})\n")


@look
def test_a_gate_that_broke_off_is_told_too(machine: Machine, step: Step) -> None:
    assert looked_at(machine, step, None).code == 0
    assert "did not get as far as a verdict" in (machine.temp / "report" / "comment.md").read_text()


@look
@pytest.mark.parametrize(
    ("text", "number", "says"),
    [
        ("fine\n", "12", "does not begin with"),
        (f"{MARKER}\n" + "x" * 70_000, "12", "gate.md is missing, too big, or no file"),
        (f"{MARKER}\n" + "@" * 40_000, "12", "too long"),
        (f"{MARKER}\n", "12; gh pr merge 1", "the number of the pull request is none"),
        (f"{MARKER}\n", "0", "the number of the pull request is none"),
        (f"{MARKER}\n", "../issues/1", "the number of the pull request is none"),
        (f"{MARKER}\n", "12\nother=1", "the number of the pull request is none"),
    ],
)
def test_what_no_gate_would_upload_is_refused(
    machine: Machine, step: Step, text: str, number: str, says: str
) -> None:
    done = looked_at(machine, step, text, number)
    assert done.code == 1
    assert f"::error::{says}" in done.said or says in done.said
    assert done.outputs == {}
    assert not (machine.temp / "report" / "comment.md").exists()


@look
def test_a_report_that_leads_elsewhere_is_refused(machine: Machine, step: Step) -> None:
    (machine.root / "secret").write_text(f"{MARKER}\nsecret")
    (machine.temp / "report").mkdir()
    (machine.temp / "report" / "number").write_text("12")
    (machine.temp / "report" / "gate.md").symlink_to(machine.root / "secret")
    assert machine.run(step, CONCLUSION="success", HEAD_SHA=SHA, RUN_URL=RUN_URL).code == 1


@look
@pytest.mark.parametrize(
    "bait",
    [
        "@everyone",
        "[log in](https://evil.example)",
        "[log in](//evil.example)",
        "![](https://evil.example/seen.png)",
        "[log in][1]\n\n[1]: //evil.example",
        "https://evil.example",
        "www.evil.example",
        "<https://evil.example>",
        "<img src=//evil.example>",
        '<a href="//evil.example">x</a>',
        "<details open ontoggle=x>",
        "closes #1",
        "closes GH-1",
        "&#64;everyone",
        "&commat;everyone",
        "closes &num;1",
    ],
)
def test_links_pictures_and_mentions_lose_their_power(machine: Machine, step: Step, bait: str) -> None:
    assert looked_at(machine, step, f"{MARKER}\n{bait}\n").code == 0
    comment = (machine.temp / "report" / "comment.md").read_text().removeprefix(MARKER)
    body = comment.rpartition("Gate of this pull request")[0]
    assert bait not in body
    powers = (
        "@e",
        "](",
        "]:",
        "![",
        "://",
        "www.",
        "<a",
        "<i",
        "<h",
        "<details ",
        "#1",
        "GH-",
        "&#",
        "&c",
        "&n",
    )
    for power in powers:
        assert power not in body


def commented(machine: Machine, step: Step, head: str, comments: list[dict[str, Any]]) -> Done:
    (machine.temp / "report").mkdir()
    (machine.temp / "report" / "comment.md").write_text(f"{MARKER}\nfine\n")
    answers = {
        "repos/someone/project/pulls/12": {"head": {"sha": head}},
        "repos/someone/project/issues/12/comments?per_page=100": comments,
    }
    return machine.run(step, GH_ANSWERS=json.dumps(answers), GH_TOKEN="none", HEAD_SHA=SHA, NUMBER="12")


comment = runs("gate-comment.yml", "Create or update the comment")
BODY: Final = {"body": f"{MARKER}\nfine\n"}


def remark(number: int, login: str, body: str) -> dict[str, Any]:
    return {"id": number, "user": {"login": login}, "body": body}


@comment
def test_the_first_comment_is_created(machine: Machine, gh: Path, step: Step) -> None:
    others = [
        remark(1, "someone", f"{MARKER}\nnot ours"),
        remark(2, "github-actions[bot]", "another workflow's"),
    ]
    assert commented(machine, step, SHA, others).code == 0
    assert calls_in(gh)[-1] == ["POST", "repos/someone/project/issues/12/comments", BODY]


@comment
def test_the_next_one_replaces_it(machine: Machine, gh: Path, step: Step) -> None:
    ours = [remark(8, "github-actions[bot]", f"{MARKER}\nold"), remark(9, "github-actions[bot]", MARKER)]
    assert commented(machine, step, SHA, ours).code == 0
    assert calls_in(gh)[-1] == ["PATCH", "repos/someone/project/issues/comments/8", BODY]


@comment
def test_a_pull_request_that_is_at_another_commit_gets_no_comment(
    machine: Machine, gh: Path, step: Step
) -> None:
    done = commented(machine, step, "f" * 40, [])
    assert (done.code, [call[0] for call in calls_in(gh)]) == (0, ["GET"])
    assert "::notice::pull request 12 is not at" in done.said

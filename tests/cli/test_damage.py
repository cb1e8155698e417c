"""A run whose tables were changed since it ended: every command says so, and none believes its figures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, IncomparableError, UsageError
from swapbench.cli import app
from swapbench.compare.history import read_history
from swapbench.run.runner import resumed_job
from swapbench.store import resolve
from tests.findings.recording import Recording

TABLES = ("phases.csv", "swaps.csv", "memory.csv")


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ended(results: Path, run_id: str) -> Path:
    recording = Recording(results, run_id=run_id)
    for number in range(3):
        recording.swap(number, "up", {"load": 3.0}, first_token_s=0.5)
        recording.sample(number, "up", 1.0, active=100)
    recording.writer.close("complete", "")
    return recording.folder


def cut(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def lengthen(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[-1])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("harm", "says"), [(cut, "of its"), (lengthen, "has rows added"), (Path.unlink, "is missing")]
)
def test_every_command_says_of_a_changed_table_what_report_says(
    tmp_path: Path, name: str, harm: Callable[[Path], None], says: str
) -> None:
    folder, whole = ended(tmp_path, "run-1"), ended(tmp_path, "run-2")
    harm(folder / name)
    document = json.loads(invoke("report", folder, "--format", "json").stdout)
    damage = document["facts"]["incomplete"].partition("it broke off: ")[2]
    assert damage.startswith(name)
    assert says in damage
    assert document["facts"]["resume_command"] == ""
    told = invoke("report", folder)
    assert told.exit_code == Exit.FAILED
    assert "resume" not in told.stdout
    listed = invoke("runs", "--json", "--results", tmp_path)
    assert [(run["status"], run["headline_s"]) for run in json.loads(listed.stdout)] == [
        ("incomplete", {}),
        ("complete", {"up": 3.5}),
    ]
    assert listed.stderr == f"swapbench: {folder}: {damage}\n"
    history = read_history([tmp_path], "up-and-down")
    assert [(run.folder, run.why) for run in history.left_out] == [(folder, damage)]
    assert {point.run_id for point in history.points} == {"run-2"}
    for refused in (
        invoke("compare", whole, folder).exception,
        invoke("baseline", "save", "b", folder, "--results", tmp_path).exception,
    ):
        assert isinstance(refused, IncomparableError)
        assert str(refused) == f"{folder}: {damage}"
    with pytest.raises(UsageError, match="not to be believed; start a new run"):
        resumed_job(folder)


@pytest.mark.parametrize("text", ["", '{"run_id": "run-1",'])
@pytest.mark.parametrize("name", [None, "run-1", "up-and-down"])
def test_where_no_run_can_be_read_the_file_and_its_fault_are_named(
    tmp_path: Path, name: str | None, text: str
) -> None:
    broken = ended(tmp_path, "run-1") / "run.json"
    broken.write_text(text)
    with pytest.raises(UsageError, match=rf"{broken}: not valid JSON"):
        resolve(tmp_path, name)

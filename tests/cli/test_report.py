"""`swapbench report` and `swapbench runs`."""

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, ResultsError, UsageError
from swapbench.cli.report import print_run, report, runs
from tests.findings.recording import Recording, arm

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"

app = typer.Typer()
app.command()(report)
app.command()(runs)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def recorded(root: Path, load_s: float = 3.0) -> Recording:
    recording = Recording(root)
    recording.swap(0, "up", {"load": load_s})
    recording.swap(0, "down", {"load": 1.0})
    recording.run()
    return recording


def test_the_latest_run_is_reported_when_none_is_named(tmp_path: Path) -> None:
    recorded(tmp_path)
    done = invoke("report", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    assert "run-1" in done.stdout


def test_the_reference_is_reported_by_its_path() -> None:
    done = invoke("report", REFERENCE)
    assert done.exit_code == Exit.OK
    for figure in ("3.300", "5.381", "0.604", "3.247", "98 %", "97 %", "64 %", "transcribed"):
        assert figure in done.stdout


def test_strictly_an_inconclusive_verdict_exits_with_6() -> None:
    assert invoke("report", REFERENCE, "--strict").exit_code == Exit.INCONCLUSIVE


def test_a_missed_target_exits_with_4(tmp_path: Path) -> None:
    recorded(tmp_path, load_s=31.0)
    assert invoke("report", "run-1", "--results", tmp_path).exit_code == Exit.TARGET_MISSED


def test_json_csv_and_markdown_are_alone_on_standard_output() -> None:
    document = json.loads(invoke("report", REFERENCE, "--format", "json").stdout)
    assert document["facts"]["run_id"] == "exp012-m4pro-24gb"
    assert invoke("report", REFERENCE, "--format", "csv").stdout.startswith("run_id,source,")
    assert invoke("report", REFERENCE, "--format", "md").stdout.startswith("## EXP-012")


def test_a_trace_is_one_document_and_the_verdict_is_still_the_exit_code(tmp_path: Path) -> None:
    recorded(tmp_path, load_s=31.0)
    done = invoke("report", "run-1", "--results", tmp_path, "--format", "trace")
    assert json.loads(done.stdout)["otherData"]["run_id"] == "run-1"
    assert done.exit_code == Exit.TARGET_MISSED


def test_a_trace_is_kept_from_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError, match=r"write it to a file: swapbench report .* > trace\.json"):
        print_run(REFERENCE, "trace", strict=False)
    assert capsys.readouterr().out == ""


def test_a_trace_of_two_arms_has_a_process_for_each(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.writer.update(arms=(arm("A"), arm("B")))
    for turn, name in enumerate("AB"):
        recording.writer.begin_turn(turn, name)
        recording.swap(0, "up")
    recording.run()
    events = json.loads(invoke("report", recording.folder, "--format", "trace").stdout)["traceEvents"]
    assert {event["pid"] for event in events} == {1, 2}


def test_where_nobody_watches_no_line_is_cut_to_80_columns() -> None:
    done = invoke("report", REFERENCE)
    assert max(map(len, done.stdout.splitlines())) > 100


def test_an_unknown_run_is_one_line(tmp_path: Path) -> None:
    recorded(tmp_path)
    done = invoke("report", "run-2", "--results", tmp_path)
    assert isinstance(done.exception, ResultsError)
    assert str(done.exception) == f'no run "run-2" under {tmp_path}; did you mean "run-1"?'
    assert done.exception.exit_code == Exit.USAGE


def test_an_unknown_format_is_a_usage_error(tmp_path: Path) -> None:
    assert invoke("report", REFERENCE, "--format", "pdf").exit_code == Exit.USAGE


def test_runs_are_listed_with_their_headlines(tmp_path: Path) -> None:
    recorded(tmp_path).failed_swap(1, "up")
    done = invoke("runs", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    for word in ("run-1", "up-and-down", "2026-03-01 10:15", "hub", "complete", "up 3.00 s", "down 1.00 s"):
        assert word in done.stdout


def test_runs_are_listed_as_json(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    recording.failed_swap(1, "up")
    recording.writer.sync()
    (row,) = json.loads(invoke("runs", "--json", "--results", tmp_path).stdout)
    assert row == {
        "run_id": "run-1",
        "experiment": "up-and-down",
        "started_at": "2026-03-01T10:15:00+00:00",
        "sources": ["hub"],
        "status": "complete",
        "swaps_ok": 2,
        "swaps_failed": 1,
        "headline_s": {"up": 3.0, "down": 1.0},
        "folder": str(recording.folder),
    }


def test_a_run_that_can_not_be_read_is_named_and_hides_no_other(tmp_path: Path) -> None:
    recorded(tmp_path)
    broken = tmp_path / "up-and-down" / "run-0"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    done = invoke("runs", "--results", tmp_path)
    assert "run-1" in done.stdout
    assert f"{broken}/run.json: not valid JSON" in done.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_runs_are_no_failure(tmp_path: Path, options: list[str]) -> None:
    done = invoke("runs", "--results", tmp_path, *options)
    assert done.exit_code == Exit.OK
    assert done.stdout == ("[]\n" if options else "")

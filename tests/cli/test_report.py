"""`swapbench report`, `runs` and `compare`, and the pages of `--html`."""

import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, ResultsError, SwapbenchError, UsageError
from swapbench.cli import app
from swapbench.cli.report import print_run
from swapbench.store import ArmInfo, Run
from tests.findings.recording import Recording, arm, worker
from tests.played import a_run, loads, pairs
from tests.scripted import scripted

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def measured(root: Path, run_id: str = "run-1", load_s: float = 3.0) -> Path:
    recording = Recording(root, run_id=run_id)
    for number in range(2):
        recording.swap(number, "up", {"load": load_s})
    recording.run()
    return recording.folder


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


def test_json_and_markdown_are_alone_on_standard_output() -> None:
    document = json.loads(invoke("report", REFERENCE, "--format", "json").stdout)
    assert document["facts"]["run_id"] == "exp012-m4pro-24gb"
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
        recording.begin_turn(turn, name)
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


def two_arms(root: Path) -> Path:
    recording = Recording(root)
    arms: tuple[ArmInfo, ...] = tuple(arm(name).model_copy(update={"worker": worker()}) for name in "AB")
    turn = 0
    for number in range(2):
        for name in ("AB", "BA")[number]:
            recording.begin_turn(turn, name)
            recording.swap(number, "up")
            turn += 1
    recording.run(arms=arms)
    return recording.folder


def test_the_page_is_written_and_told_of_with_its_size(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "out.html"
    done = invoke("report", measured(tmp_path), "--html", page)
    assert done.exit_code == Exit.OK
    assert done.stdout == f"report: {page} ({page.stat().st_size / 1e3:.0f} kB)\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in page.parent.iterdir()] == ["out.html"]


def test_the_exit_code_is_the_verdicts(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert invoke("report", measured(tmp_path, load_s=31.0), "--html", page).exit_code == Exit.TARGET_MISSED
    assert page.exists()


def test_a_run_of_two_arms_becomes_a_comparison(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    invoke("report", two_arms(tmp_path), "--html", page)
    text = page.read_text(encoding="utf-8")
    assert "What changed" in text
    assert "Side A: the A side" in text


def test_one_arm_becomes_a_page_of_its_own(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    invoke("report", two_arms(tmp_path), "--arm", "B", "--html", page)
    assert "What changed" not in page.read_text(encoding="utf-8")


def test_runs_that_are_compared_become_one_page(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    a, b = measured(tmp_path, "run-a"), measured(tmp_path, "run-b")
    done = invoke("compare", a, b, "--html", page)
    assert done.stdout.startswith(f"report: {page} (")
    assert again(page) == ["compare", str(a), str(b), "--html", "out.html"]


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_page_and_another_form_at_once_is_a_usage_error(tmp_path: Path, command: str) -> None:
    done = invoke(command, measured(tmp_path), "--html", tmp_path / "out.html", "--format", "md")
    assert isinstance(done.exception, UsageError)
    assert "one at a time" in str(done.exception)


def test_a_page_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("report", measured(tmp_path), "--html", tmp_path / "file" / "out.html")
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(f"--html {tmp_path}/file/out.html: can't be written: ")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (".", "it names no file"),
        ("reports", "it is no file"),
        ("/dev/null", "it is no file"),
        ("x" * 300, "File name too long"),
        ("file/x/y", "is no folder"),
    ],
)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_it_is_refused_before_anything_is_read_or_drawn(
    command: str, page: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "reports").mkdir()
    done = invoke(command, "no-such-run", "--html", page)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(f"--html {page}: can't be written: ")
    assert why in str(done.exception)
    assert Path("/dev/null").is_char_device()


def test_without_html_nothing_of_charts_is_loaded(tmp_path: Path) -> None:
    folder = measured(tmp_path)
    script = (
        "import sys\nfrom swapbench.cli import main\n"
        f"sys.argv = ['swapbench', 'report', {str(folder)!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'vl_convert', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def again(page: Path) -> list[str]:
    """The command at the end of a page that makes it again."""
    commands = re.findall(r"<code>(.*?)</code>", page.read_text("utf-8"))
    return shlex.split(html.unescape(re.sub(r"</?span>", "", commands[-1])))[1:]


@pytest.mark.parametrize(
    "options", [[], ["--strategy", "slab"], ["--margin", "0.5"], ["--anyway"], ["--arm", "B"]], ids=" ".join
)
def test_the_command_that_makes_it_again_makes_the_same_page(tmp_path: Path, options: list[str]) -> None:
    runs: list[Path] = []
    if options[:1] == ["--arm"]:
        runs = [two_arms(tmp_path)]
    elif options[:1] == ["--anyway"]:
        runs = [measured(tmp_path), REFERENCE]
    elif options[:1] == ["--margin"]:
        runs = [measured(tmp_path), measured(tmp_path, "run-2")]
    else:
        recording = Recording(tmp_path, strategy=["stock", "slab"])
        for strategy, load_s in (("stock", 4.0), ("slab", 1.0)):
            recording.swap(0, "up", {"load": load_s}, strategy=strategy)
        runs = [recording.run().folder]
    page = tmp_path / "report.html"
    done = invoke("compare" if len(runs) > 1 else "report", *runs, *options, "--html", page)
    assert done.exit_code == Exit.OK, done.exception
    command = again(page)
    assert command[-1] == page.name
    assert invoke(*command[:-1], tmp_path / "again.html").exit_code == Exit.OK
    first, second = (file.read_text("utf-8") for file in (page, tmp_path / "again.html"))
    assert drawn(first) == drawn(second)


def drawn(page: str) -> str:
    """A page without the numbers that drawings are told apart by, and the name of its own file."""
    return re.sub(r"--html</span> \S+</code>", "", re.sub(r"\bc\d+-", "", page))


def test_a_strategy_of_an_arm_has_to_say_of_which(tmp_path: Path) -> None:
    done = invoke("report", two_arms(tmp_path), "--strategy", "stock")
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "--strategy: this run compares arms; name one of them, too: --arm A"


def test_a_page_without_a_name_is_refused(tmp_path: Path) -> None:
    done = invoke("report", measured(tmp_path), "--html", "")
    assert isinstance(done.exception, UsageError)
    assert "names no file" in str(done.exception)


def error(done: Result) -> str:
    assert isinstance(done.exception, SwapbenchError)
    assert done.exception.exit_code is Exit.USAGE
    assert "\n" not in str(done.exception)
    return str(done.exception)


def played_arms(out: Path, load_s: float = 3.9) -> Run:
    slow = loads("up", [load_s] * 7)
    return pairs(out, scripted(rounds=6, warmup=1), scripted(slow, rounds=6, warmup=1), ("old", "new"))


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    one, other = (a_run(tmp_path, rounds=6) for _ in range(2))
    done = invoke("compare", one.info.run_id, other.folder, "--results", tmp_path, "--format", "md")
    assert done.exit_code == Exit.OK
    assert done.stdout.startswith(f"## scripted: {one.info.run_id} against {other.info.run_id}\n")


def test_every_other_run_is_compared_with_the_first(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, rounds=6) for _ in range(3)]
    done = invoke("compare", *(run.folder for run in runs), "--format", "json")
    compared = json.loads(done.stdout)["comparisons"]
    assert [c["a"]["run_id"] for c in compared] == [runs[0].info.run_id] * 2
    assert [c["b"]["run_id"] for c in compared] == [run.info.run_id for run in runs[1:]]


def test_a_run_of_two_arms_is_compared_alone(tmp_path: Path) -> None:
    run = played_arms(tmp_path)
    for command in (("compare", run.folder), ("report", run.folder), ("report", "--results", tmp_path)):
        done = invoke(*command)
        assert done.exit_code == Exit.REGRESSION
        assert "up slower (+26 %), down no worse than +5 % (0 %)" in done.stdout
        assert "old against new" in done.stdout


def test_a_wider_margin_lets_it_pass(tmp_path: Path) -> None:
    assert invoke("compare", played_arms(tmp_path).folder, "--margin", "0.5").exit_code == Exit.OK


@pytest.mark.parametrize("margin", ["-2", "11", "much"])
def test_a_margin_that_is_none_is_a_usage_error(tmp_path: Path, margin: str) -> None:
    assert invoke("compare", played_arms(tmp_path).folder, "--margin", margin).exit_code == Exit.USAGE


def test_strictly_what_is_undecided_exits_with_6(tmp_path: Path) -> None:
    few = pairs(tmp_path, scripted(rounds=3), scripted(rounds=3))
    assert invoke("compare", few.folder).exit_code == Exit.OK
    assert invoke("compare", few.folder, "--strict").exit_code == Exit.INCONCLUSIVE


def test_a_swap_that_failed_in_an_arm_exits_with_7(tmp_path: Path) -> None:
    failing = scripted([{"scenario": "up", "round": 1, "fails_in": "load"}], rounds=6)
    assert invoke("compare", pairs(tmp_path, scripted(rounds=6), failing).folder).exit_code == Exit.FAILED


def test_one_arm_is_reported_as_any_other_run(tmp_path: Path) -> None:
    run = played_arms(tmp_path)
    done = invoke("report", run.folder, "--arm", "B", "--format", "json")
    findings = json.loads(done.stdout)
    assert findings["scenarios"][0]["headline"]["point"] == pytest.approx(4.3)
    assert findings["counts"]["counted"] == 12
    assert error(invoke("report", run.folder, "--arm", "C")).startswith('no arm "C" in this run; ')


def test_runs_that_are_unlike_are_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    one, other = a_run(tmp_path, rounds=6), a_run(tmp_path, rounds=6, steady_tokens=1)
    said = error(invoke("compare", one.folder, other.folder))
    assert said == (
        f"{one.info.run_id} and {other.info.run_id} can't be compared: steady_tokens: 16 against 1; "
        "--anyway shows them side by side"
    )


def test_anyway_shows_them_marked_and_judges_nothing(tmp_path: Path) -> None:
    one, other = a_run(tmp_path, rounds=6), a_run(tmp_path, loads("up", [9.0] * 6), rounds=6)
    done = invoke("compare", one.folder, other.folder, "--anyway", "--format", "md")
    assert done.exit_code == Exit.OK
    assert "not comparable: shown side by side, without verdicts" in done.stdout
    assert "slower" not in done.stdout
    assert invoke("compare", one.folder, other.folder, "--anyway", "--strict").exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize("form", ["rich", "md", "json"])
def test_runs_without_a_scenario_in_common_are_shown_all_the_same(tmp_path: Path, form: str) -> None:
    one, other = Recording(tmp_path, run_id="run-1"), Recording(tmp_path, run_id="run-2")
    one.swap(0, "up")
    other.swap(0, "down")
    folders = [recording.run().folder for recording in (one, other)]
    assert invoke("compare", *folders, "--anyway", "--format", form).exit_code == Exit.OK


def test_what_has_to_be_said_is_said_in_one_line(tmp_path: Path) -> None:
    one, ab = a_run(tmp_path, rounds=6), played_arms(tmp_path)
    assert error(invoke("compare", one.folder)).startswith(f"{one.folder}: nothing to compare it with; ")
    assert error(invoke("compare", one.folder, ab.folder)) == (
        f"{ab.folder}: has two arms; `swapbench compare {ab.folder}` compares them"
    )
    assert error(invoke("compare", one.folder, one.folder)) == (
        f"{one.folder}: is compared with itself; name another run"
    )
    nowhere = error(invoke("compare", one.folder, "run-9", "--results", tmp_path))
    assert nowhere.startswith(f'no run "run-9" under {tmp_path}; ')
    assert invoke("compare").exit_code == Exit.USAGE


def test_runs_of_two_arms_are_listed_with_both(tmp_path: Path) -> None:
    played_arms(tmp_path)
    done = invoke("runs", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    (row,) = json.loads(invoke("runs", "--results", tmp_path, "--json").stdout)
    assert list(row["headline_s"]) == ["up (A)", "down (A)", "up (B)", "down (B)"]

"""`swapbench report --html` and `swapbench compare --html`."""

import html
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from swapbench.base.errors import Exit, UsageError
from swapbench.cli.compare import compare
from swapbench.cli.report import report
from swapbench.store import ArmInfo
from tests.findings.recording import Recording, arm, worker

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"

app = typer.Typer()
app.command()(report)
app.command()(compare)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def recorded(root: Path, run_id: str = "run-1", load_s: float = 3.0) -> Path:
    recording = Recording(root, run_id=run_id)
    for number in range(2):
        recording.swap(number, "up", {"load": load_s})
    recording.run()
    return recording.folder


def two_arms(root: Path) -> Path:
    recording = Recording(root)
    arms: tuple[ArmInfo, ...] = tuple(arm(name).model_copy(update={"worker": worker()}) for name in "AB")
    turn = 0
    for number in range(2):
        for name in ("AB", "BA")[number]:
            recording.writer.begin_turn(turn, name)
            recording.swap(number, "up")
            turn += 1
    recording.run(arms=arms)
    return recording.folder


def test_the_page_is_written_and_told_of_with_its_size(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "out.html"
    done = invoke("report", recorded(tmp_path), "--html", page)
    assert done.exit_code == Exit.OK
    assert done.stdout == f"report: {page} ({page.stat().st_size / 1e3:.0f} kB)\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in page.parent.iterdir()] == ["out.html"]


def test_the_exit_code_is_the_verdicts(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert invoke("report", recorded(tmp_path, load_s=31.0), "--html", page).exit_code == Exit.TARGET_MISSED
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
    a, b = recorded(tmp_path, "run-a"), recorded(tmp_path, "run-b")
    done = invoke("compare", a, b, "--html", page)
    assert done.stdout.startswith(f"report: {page} (")
    assert again(page) == ["compare", str(a), str(b), "--html", "out.html"]


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_page_and_another_form_at_once_is_a_usage_error(tmp_path: Path, command: str) -> None:
    done = invoke(command, recorded(tmp_path), "--html", tmp_path / "out.html", "--format", "md")
    assert isinstance(done.exception, UsageError)
    assert "one at a time" in str(done.exception)


def test_a_page_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("report", recorded(tmp_path), "--html", tmp_path / "file" / "out.html")
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
    folder = recorded(tmp_path)
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
        runs = [recorded(tmp_path), REFERENCE]
    elif options[:1] == ["--margin"]:
        runs = [recorded(tmp_path), recorded(tmp_path, "run-2")]
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
    done = invoke("report", recorded(tmp_path), "--html", "")
    assert isinstance(done.exception, UsageError)
    assert "names no file" in str(done.exception)

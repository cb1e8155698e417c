"""Every report goes by what the models of a run are, and never by what the experiment says of them."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from swapbench.compare.comparison import Side, compare_runs
from swapbench.compare.history import analyse_history, read_history
from swapbench.findings import analyse
from swapbench.findings.timeline import timeline_of
from swapbench.report.forms import comparison_to_markdown, print_history, to_json, to_markdown
from swapbench.report.trace import to_trace
from swapbench.spec.experiment import Source
from swapbench.store import Run
from swapbench.wire.plan import Checkpoint
from tests.findings.recording import Recording, checkpoints
from tests.report.render.html.pages import compared, page_of, parse
from tests.report.render.test_terminal import terminal

Report = Callable[[Run], str]

MINIS = checkpoints(Source.MINI)
ONE_MINI = checkpoints(Source.HUB, large=Source.MINI)
TARGET = [{"kind": "any-under-target"}, {"kind": "times-faster", "times": 2, "scenario": "up"}]


def as_terminal(run: Run) -> str:
    return terminal(analyse(run))


def as_markdown(run: Run) -> str:
    return to_markdown(analyse(run))


def as_json(run: Run) -> str:
    return to_json(analyse(run))


def as_html(run: Run) -> str:
    return parse(page_of(run)).text


def as_trace(run: Run) -> str:
    return to_trace(run.info, timeline_of(run))


def as_comparison(run: Run) -> str:
    return comparison_to_markdown(compare_runs(Side("a", run), Side("b", run)))


def as_compared_page(run: Run) -> str:
    return parse(compared([run, run])).text


def as_history(run: Run) -> str:
    console = Console(file=io.StringIO(), width=120)
    past = analyse_history(read_history([run.folder.parent.parent], run.info.experiment_name))
    print_history(past, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


REPORTS = [
    *(as_terminal, as_markdown, as_json, as_html, as_trace),
    *(as_comparison, as_compared_page, as_history),
]


def run_of(folder: Path, found: tuple[Checkpoint, ...]) -> Run:
    """Of an experiment that leaves its source at hub; every swap is far under 30 s."""
    recording = Recording(folder, found=found, criterion=TARGET, expected_s={"load": [10, 20]})
    for number in range(3):
        recording.swap(number, "up", first_token_s=0.5)
        recording.swap(number, "down", first_token_s=0.5)
    return recording.run()


@pytest.mark.parametrize("found", [MINIS, ONE_MINI], ids=["all", "one"])
@pytest.mark.parametrize("report", REPORTS)
def test_no_report_of_minis_judges_their_times_and_each_says_that_they_are_minis(
    report: Report, found: tuple[Checkpoint, ...], tmp_path: Path
) -> None:
    text = report(run_of(tmp_path, found))
    assert "mini" in text
    assert not re.search(r"\N{MULTIPLICATION SIGN} (under|over)|\d (under|over) 30 s|expected 10", text)
    assert '"outcome": "pass"' not in text


@pytest.mark.parametrize("report", REPORTS)
def test_no_report_calls_minis_the_published_checkpoints(report: Report, tmp_path: Path) -> None:
    text = report(run_of(tmp_path, MINIS))
    assert "published" not in text
    assert not re.search(r"\bhub\b", text)


@pytest.mark.parametrize("report", [as_terminal, as_markdown, as_json, as_comparison])
def test_of_unlike_models_each_is_said_what_it_is(report: Report, tmp_path: Path) -> None:
    text = " ".join(report(run_of(tmp_path, ONE_MINI)).split())
    assert (
        "small: the published checkpoints; large: scaled down; their times say nothing about the real models"
    ) in text


@pytest.mark.parametrize("source", [Source.HUB, Source.LOCAL, Source.SYNTHETIC])
def test_full_size_models_are_judged_and_named_as_what_they_are(source: Source, tmp_path: Path) -> None:
    text = as_terminal(run_of(tmp_path, checkpoints(source)))
    assert f" {source} models   " in text
    assert "\N{MULTIPLICATION SIGN} under 30 s" in text
    assert ("the published checkpoints" in text) == (source is Source.HUB)

"""Which view a run has, what it is told it will do, and who wants none."""

import io
from pathlib import Path
from unittest.mock import patch

import pytest

from swapbench.cli.progress import LiveView, PlainLines, carry_out_watched, course_of, is_watched, observing
from swapbench.run.runner import Job, Observer, new_job
from swapbench.wire.events import Note
from swapbench.wire.plan import scripted_checkpoints
from tests.findings.test_progress import course, done
from tests.scripted import play, scripted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class AsciiTerminal(Terminal):
    encoding = "ANSI_X3.4-1968"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    experiment = scripted(warmup=1)
    return new_job(experiment, Path("s.toml"), scripted_checkpoints(experiment), tmp_path, command=[])


def test_a_course_has_every_swap_in_order(job: Job) -> None:
    ahead = course_of(job)
    assert ahead.swaps[:3] == (("", 0, "stock", "up"), ("", 0, "stock", "down"), ("", 1, "stock", "up"))
    assert (len(ahead.swaps), ahead.rounds, ahead.warmup) == (8, 4, 1)


@pytest.mark.parametrize(
    ("out", "environment", "watched"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm", "CI": "true"}, False),
        (AsciiTerminal(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_only_a_terminal_that_can_redraw_has_the_live_view(
    out: io.StringIO, environment: dict[str, str], watched: bool
) -> None:
    assert is_watched(out, environment) is watched


def test_the_live_view_leaves_what_went_wrong_above_it() -> None:
    from rich.console import Console

    out = Terminal()
    view = LiveView(course(), Console(file=out, width=100))
    view.on(done("up"))
    view.on(done("down", valid=False, invalid_reason="not warm"))
    view.on(Note(text="[resumed]"))
    assert out.getvalue().splitlines() == [
        "  down: 3.000 s  [invalid: not warm]",
        "note: [resumed]",
    ]
    assert "2 of 6 swaps" in view.draw().plain


ODD = "a:x:b :100: [bold]\x1b[31mred\x1b[0m\r\x9b2J"
SHOWN = "a:x:b :100: [bold][31mred[0m2J"


def test_a_message_is_shown_as_it_stands_and_never_obeyed() -> None:
    from rich.console import Console

    out, plain = Terminal(), Terminal()
    LiveView(course(), Console(file=out, width=100)).on(Note(text=ODD))
    PlainLines(course(), plain).on(Note(text=ODD))
    assert out.getvalue() == plain.getvalue() == f"note: {SHOWN}\n"


def test_verbose_explains_beside_the_plain_lines(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    with observing(job, quiet=False, verbose=True) as observer:
        for event in play(scripted(warmup=1)):
            observer.on(event)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("the worker runs ")
    assert said.index("up: small → large, strategy stock") > said.index("warm-up 1/1")
    assert "  up: 3.300 s, first token at 3.400 s" in said


def test_quiet_shows_nothing(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    with observing(job, quiet=True) as observer:
        for event in play(scripted()):
            observer.on(event)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("quiet", "verbose", "json", "told"),
    [
        (False, False, False, True),
        (True, False, False, False),
        (False, False, True, False),
        (False, True, True, True),
    ],
)
def test_who_wants_json_is_told_nothing_beside_it_unless_they_ask(
    job: Job, capsys: pytest.CaptureFixture[str], *, quiet: bool, verbose: bool, json: bool, told: bool
) -> None:
    def carry_out(_job: Job, observer: Observer) -> None:
        for event in play(job.experiment):
            observer.on(event)

    with patch("swapbench.run.runner.carry_out", carry_out):
        carry_out_watched(job, quiet=quiet, verbose=verbose, json=json)
    said = capsys.readouterr()
    assert ("round 1/" in said.err) is told
    assert said.out == ""

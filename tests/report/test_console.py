"""A terminal that shows texts and obeys none."""

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from swapbench.findings import analyse
from swapbench.report.console import PlainConsole, list_console, make_console
from swapbench.report.forms import print_report
from swapbench.report.layout import plain
from tests.findings.recording import Recording

ODD = "a:x:b :100: [bold]\x1b[31mred\x1b]0;title\x07\x9b2J\x85"
SHOWN = "a:x:b :100: [bold][31mred]0;title2J"


def test_lines_and_tabs_stay_and_whatever_else_is_a_control_character_goes() -> None:
    every = "".join(map(chr, range(0x20))) + "a" + "".join(map(chr, range(0x7F, 0xA0))) + "é"
    assert plain(every) == "\t\naé"


@pytest.mark.parametrize("kind", ["line", "text", "cell", "heading"])
def test_whatever_is_printed_is_shown_as_it_stands(kind: str) -> None:
    console = PlainConsole(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    table = Table(ODD if kind == "heading" else "", box=None)
    table.add_row(ODD if kind == "cell" else "")
    shown = {"line": ODD, "text": Text(ODD)}
    console.print(shown.get(kind, table))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().strip() == SHOWN


def test_colours_are_still_set_by_the_report_itself() -> None:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, color_system="standard", no_color=False)
    console.print(Text("red", style="red"))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "\x1b[31mred\x1b[0m\n"


def test_a_report_shows_messages_as_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = Recording(tmp_path, title=ODD)
    recording.failed_swap(0, "up", error=ODD)
    findings = analyse(recording.run("incomplete", failure=ODD, notes=(ODD,)))
    print_report(findings, make_console())
    told = capsys.readouterr().out
    assert all(sign.isprintable() for sign in told.replace("\n", ""))
    assert told.count(SHOWN) >= 4


def test_where_nobody_watches_no_blank_fills_a_column_up(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a", "b")
    table.add_row("1", "")
    make_console().print(table, Text("end   "))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert lines[-1] == "end"


def test_on_a_terminal_they_do() -> None:
    console = PlainConsole(file=io.StringIO(), width=20, force_terminal=True, color_system=None)
    console.print(Text("end   "))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "end   \n"


@pytest.mark.parametrize(
    ("columns", "width"), [("77", 77), ("60", 60), ("200", 200), ("3", 20), ("", 120), ("wide", 120)]
)
def test_columns_is_honoured_where_nobody_watches(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width
    assert list_console().width == (10_000 if width == 120 else width)

"""On any width, tables can be read: no name is written a few letters a line, and no line is too long."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swapbench.compare.comparison import Comparison
from swapbench.compare.history import analyse_history, read_history
from swapbench.findings import analyse
from swapbench.machine.doctor import judge_examination, judge_surroundings
from swapbench.report.console import PlainConsole, readable
from swapbench.report.doctor import print_checks
from swapbench.report.forms import print_history, print_report, show_comparisons
from swapbench.report.gate import print_gate
from swapbench.report.lists import print_models, print_runs
from tests.findings.recording import LARGE_BYTES, MACHINE, Recording, reading
from tests.machine.test_doctor import GOOD, QUIET_MAC
from tests.report.judged import apart, comparison, gate
from tests.report.test_lists import MODELS, RUN_ID, outline

NAMES = ["smollm2-to-gemma-3", "gemma-3-to-qwen2.5", "qwen2.5-to-smollm2"]
LONG = "from-the-model-that-everybody-has-to-the-one-that-nobody-ever-heard-of"
CHECKS = (*judge_surroundings(QUIET_MAC, {}), *judge_examination(GOOD))
every_width = pytest.mark.parametrize("width", [40, 60, 80, 120])
Print = Callable[[Console], None]


def printed(show: Print, width: int) -> str:
    console = PlainConsole(file=io.StringIO(), width=width)
    show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def check(show: Print, width: int, *names: str) -> None:
    text = printed(show, width)
    lines = [line.strip() for line in text.splitlines()]
    assert max(map(len, lines)) <= width
    crumbs = [(a, b) for a, b in pairwise(lines) if a.isalnum() and b.isalnum() and max(len(a), len(b)) < 4]
    assert crumbs == [], text
    for name in names:
        assert name in text, text


def report(folder: Path, names: list[str], strategies: tuple[str, ...] = ("stock",)) -> Print:
    """Of a run in which everything is there that has a table."""
    scenarios = [{"name": name, "from": "small", "to": "large"} for name in names]
    recording = Recording(folder, scenario=scenarios, strategy=list(strategies))
    for number in range(3):
        for strategy in strategies:
            for name in names:
                recording.swap(
                    number,
                    name,
                    {"load": 3.0 + number / 10, "unload": 0.2},
                    strategy=strategy,
                    spans={"load/read": 2.5},
                    first_token_s=0.25,
                    settled=reading(LARGE_BYTES),
                    loaded_bytes=LARGE_BYTES,
                    resident_before=1.0,
                    drained_requests=3,
                )
    recording.failed_swap(3, names[0], error="it broke in a way that takes some words to tell")
    findings = analyse(recording.run())
    return lambda console: print_report(findings, console)


@every_width
@pytest.mark.parametrize("strategies", [("stock",), ("stock", "slab")])
def test_a_report(strategies: tuple[str, ...], width: int, tmp_path: Path) -> None:
    check(report(tmp_path, NAMES, strategies), width, *NAMES)


@every_width
def test_a_report_of_long_names(width: int, tmp_path: Path) -> None:
    check(report(tmp_path, [LONG, *NAMES]), width, *NAMES)


@every_width
@pytest.mark.parametrize("make", [comparison, apart])
def test_a_comparison(make: Callable[[Path], Comparison], width: int, tmp_path: Path) -> None:
    compared = [make(tmp_path)]
    check(lambda console: show_comparisons(compared, "rich", console), width, "up", "down")


@every_width
def test_a_gate(width: int, tmp_path: Path) -> None:
    judged = gate(tmp_path)
    check(lambda console: print_gate(judged, console), width, "up", "down")


@every_width
def test_a_history(width: int, tmp_path: Path) -> None:
    scenarios = [{"name": name, "from": "small", "to": "large"} for name in (LONG, *NAMES)]
    for day in range(8):
        begun = datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(days=day)
        recording = Recording(tmp_path, run_id=f"day-{day}", started_at=begun, scenario=scenarios)
        for name in (LONG, *NAMES):
            recording.swap(0, name, {"load": 3.0 + day % 3})
        recording.run()
    past = analyse_history(read_history([tmp_path], "up-and-down"))
    check(lambda console: print_history(past, console), width, *NAMES)


@every_width
def test_lists(width: int) -> None:
    check(lambda console: print_runs([outline(), outline()], console), width, RUN_ID)
    check(lambda console: print_models(MODELS, console), width, "smollm2-135m", "synthetic", "mine")
    check(lambda console: print_checks(MACHINE, CHECKS, console), width, *(check.name for check in CHECKS))


def table() -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("model", no_wrap=True)
    made.add_column(Text("size\n in GB"), justify="right")
    made.add_column("where", overflow="fold")
    made.add_row(Text("qwen2.5-14b", style="bold"), Text("7.7\n(7.5-7.9)"), "/models/" + "x" * 40)
    made.add_row("", "", "")
    made.add_row("tiny", "", "nowhere")
    return made


def test_where_there_is_room_a_table_is_a_table() -> None:
    lines = printed(lambda console: console.print(readable(table(), console)), 60).splitlines()
    assert ["model", "in", "GB", "where"] in [line.split() for line in lines]
    assert len(lines) == 9


def test_where_there_is_none_its_rows_stand_below_one_another() -> None:
    text = printed(lambda console: console.print(readable(table(), console)), 30)
    assert text.splitlines() == [
        "qwen2.5-14b",
        "  size in GB 7.7 (7.5-7.9);",
        "  where",
        "  /models/xxxxxxxxxxxxxxxxxxxx",
        "  xxxxxxxxxxxxxxxxxxxx",
        "tiny",
        "  where nowhere",
    ]


def test_what_has_no_heading_stands_by_itself() -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("a-name-of-some-length", Text("one\ntwo words"))
    text = printed(lambda console: console.print(readable(grid, console)), 24)
    assert text.splitlines() == ["a-name-of-some-length", "  one", "  two words"]

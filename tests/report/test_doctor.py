"""A self-check's rows, for people."""

import io
from datetime import UTC, datetime

from rich.console import Console

from swapbench.cli import output
from swapbench.machine.environment import Machine
from swapbench.machine.selfcheck import Result, Row, Selfcheck
from swapbench.report.doctor import RESULT_MARKS, in_a_line, print_end, print_row

MAC = Machine(
    system="macOS",
    release="26.1",
    architecture="arm64",
    processor="Apple M4 Pro",
    cores=12,
    memory_bytes=24 << 30,
)


def row(result: Result) -> Row:
    return Row(
        claim="map", what="map copies nothing", result=result, finding="footprint +268 MiB", seconds=1.5
    )


def printed(*rows: Row) -> str:
    console = Console(file=io.StringIO(), width=100)
    for one in rows:
        print_row(one, console)
    found = Selfcheck(
        swapbench="0.1.0",
        machine=MAC,
        versions={"mlx": "0.32.4"},
        device="gpu (Apple M4 Pro)",
        file_system="apfs",
        checked_at=datetime(2026, 11, 30, tzinfo=UTC),
        rows=rows,
    )
    print_end(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_wrong_says_what_should_be() -> None:
    assert "should be: map copies nothing" in printed(row("wrong"))
    assert "should be" not in printed(row("right"), row("not here"))


def test_the_end_says_how_many_of_each_and_where() -> None:
    text = printed(row("right"), row("right"), row("not here"))
    assert "2 right, 0 wrong, 1 not here" in text
    assert "Apple M4 Pro, 12 cores, 24 GiB, macOS 26.1, apfs; mlx 0.32.4, on gpu (Apple M4 Pro)" in text


def test_a_row_is_a_line_where_nobody_looks_at_tables() -> None:
    assert in_a_line(row("wrong")) == "wrong: map: footprint +268 MiB"


def test_where_a_terminal_is_ascii_no_two_marks_are_alike() -> None:
    marks = [output.PLAINER.get(mark, mark) for mark, _ in RESULT_MARKS.values()]
    assert all(map(str.isascii, marks))
    assert len(set(marks)) == len(marks)

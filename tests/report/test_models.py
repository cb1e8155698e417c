"""Models as they are printed, and how far one is."""

import io
from typing import Any

import pytest
from rich.console import Console

from swapbench.report.lists import print_models, progress_of

ROWS: list[dict[str, Any]] = [
    {
        "name": "smollm2-135m",
        "sources": [
            {
                "source": "hub",
                "path": None,
                "weight_bytes": 273_000_000,
                "hint": "not in the Hugging Face cache; `swapbench models fetch smollm2-135m`",
            },
            {"source": "synthetic", "path": "/models/synthetic/smollm2-135m", "weight_bytes": 0, "hint": ""},
        ],
    },
    {"name": "mine", "sources": [{"source": "mini", "path": "/models/mini/mine", "weight_bytes": 5_500_000}]},
]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_row_for_each_source_with_its_name_and_size_in_one_piece(width: int) -> None:
    out = io.StringIO()
    print_models(ROWS, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines]
    assert ["smollm2-135m", "hub", "273.0", "MB"] in [row[:4] for row in rows]
    assert ["synthetic", "?"] in [row[:2] for row in rows]
    assert ["mine", "mini", "5.5", "MB"] in [row[:4] for row in rows]


def test_what_a_user_named_is_printed_as_it_is() -> None:
    odd, out = "[bold]a:smile:[/bold]", io.StringIO()
    row = {"source": "mini", "path": f"/models/{odd}", "weight_bytes": 1}
    print_models([{"name": odd, "sources": [row]}], Console(file=out, width=200))
    assert out.getvalue().count(odd) == 2


def test_a_bar_bears_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with progress_of("[bold]a:smile:") as show:
        show(1, 2)
    assert "[bold]a:smile:" in terminal.getvalue()


def test_nobodys_terminal_is_told_every_tenth_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of("mine") as show:
        for done in range(0, 100_000_001, 1_000_000):
            show(done, 100_000_000)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 11
    assert said[5] == "mine: 50.0 MB of 100.0 MB"

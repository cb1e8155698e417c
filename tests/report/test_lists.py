"""Lists of runs, models and targets: what is copied from them stays in one piece."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from swapbench.cli import app
from swapbench.findings.runs import RunOutline
from swapbench.report.console import list_console
from swapbench.report.lists import print_models, print_runs, print_targets, progress_of
from swapbench.run.targets import BUILT_IN

RUN_ID = "20261125T211555Z-mini-12"
LONG = "an-experiment-whose-name-was-thought-of-for-a-long-time"


def outline() -> RunOutline:
    return RunOutline(
        run_id=RUN_ID,
        experiment=LONG,
        started_at=datetime(2026, 11, 25, 21, 15, tzinfo=UTC),
        sources=("mini", "hub"),
        status="complete",
        swaps_ok=6,
        swaps_failed=0,
        headline_s={f"from-{LONG}": 1.0},
        folder="results/x",
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_runs_id_is_in_one_piece_on_a_terminal_of_any_width(width: int) -> None:
    out = io.StringIO()
    print_runs([outline()], Console(file=out, width=width, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert RUN_ID in out.getvalue()
    assert max(map(len, lines)) <= width


def test_off_a_terminal_nothing_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    print_runs([outline()], list_console())
    (row,) = [line for line in capsys.readouterr().out.splitlines() if RUN_ID in line]
    assert LONG in row.split()
    assert f"from-{LONG}" in row.split()


def test_on_a_terminal_lists_keep_to_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "77")
    assert list_console().width == 77


MODELS: list[dict[str, Any]] = [
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
    print_models(MODELS, Console(file=out, width=width))
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


TARGETS = json.loads(CliRunner().invoke(app, ["targets", "--json"]).stdout)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_name_stands_whole_before_what_it_is_and_whether_it_was_run(width: int) -> None:
    out = io.StringIO()
    print_targets(TARGETS, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line[:1].strip()] == [row["name"] for row in TARGETS]
    said = " ".join(out.getvalue().split())
    assert said.count("tested against the real server") == sum(row["tested"] == "real" for row in TARGETS)
    assert "started by swapbench, as ollama; swap: asking for the other model" in said


def test_a_name_is_printed_as_it_is() -> None:
    out = io.StringIO()
    print_targets([TARGETS[0] | {"name": "[red]own:rocket:"}], Console(file=out, width=80))
    assert out.getvalue().startswith("[red]own:rocket: ")


def test_what_is_built_in_is_what_an_experiment_may_name() -> None:
    assert [
        row["name"] for row in TARGETS if row["start"] == "in the worker" and row["tested"] != "own"
    ] == list(BUILT_IN)
    assert [row["title"] for row in TARGETS[: len(BUILT_IN)]] == [
        target.title for target in BUILT_IN.values()
    ]

"""Lists of runs: what is copied from them stays in one piece."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from swapbench.findings.runs import RunOutline
from swapbench.report.console import list_console
from swapbench.report.lists import print_runs

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

"""The list of what can be measured."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from swapbench.cli import app
from swapbench.report.lists import print_targets
from swapbench.run.targets import BUILT_IN

ROWS = json.loads(CliRunner().invoke(app, ["targets", "--json"]).stdout)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_name_stands_whole_before_what_it_is_and_whether_it_was_run(width: int) -> None:
    out = io.StringIO()
    print_targets(ROWS, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line[:1].strip()] == [row["name"] for row in ROWS]
    said = " ".join(out.getvalue().split())
    assert said.count("tested against the real server") == sum(row["tested"] == "real" for row in ROWS)
    assert "started by swapbench, as ollama; swap: asking for the other model" in said


def test_a_name_is_printed_as_it_is() -> None:
    out = io.StringIO()
    print_targets([ROWS[0] | {"name": "[red]own:rocket:"}], Console(file=out, width=80))
    assert out.getvalue().startswith("[red]own:rocket: ")


def test_what_is_built_in_is_what_an_experiment_may_name() -> None:
    assert [
        row["name"] for row in ROWS if row["start"] == "in the worker" and row["tested"] != "own"
    ] == list(BUILT_IN)
    assert [row["title"] for row in ROWS[: len(BUILT_IN)]] == [target.title for target in BUILT_IN.values()]

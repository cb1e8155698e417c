"""Lists of runs, models, targets and experiments: what is copied from them stays in one piece."""

import io
import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from swapbench.cli import app
from swapbench.findings.runs import RunOutline
from swapbench.models.locate import Located
from swapbench.report.console import list_console
from swapbench.report.lists import (
    print_experiment,
    print_experiments,
    print_models,
    print_runs,
    print_settings,
    print_targets,
    progress_of,
)
from swapbench.run.capacity import Available, ModelSize, needs
from swapbench.run.targets import BUILT_IN
from swapbench.spec.experiment import Experiment, Source, find, load, validate

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


ROWS = [
    {
        "name": "exp013-strategies",
        "title": "EXP-013: strategies, side by side, on models that are far too large to be held twice",
        "models": ["smollm2-135m", "gemma-3-12b", "qwen2.5-14b"],
        "scenarios": ["drained-cold", "large-to-large-cold", "large-to-small", "large-to-large"],
        "file": "experiments/exp013-strategies.toml",
    },
    {
        "name": "mine-by-a-name-of-some-length",
        "title": "Mine",
        "models": ["a"],
        "scenarios": ["up"],
        "file": "mine.toml",
    },
]
THERE = Available(24 << 30, 77 * 10**9, 77 * 10**9)
every_width = pytest.mark.parametrize("width", [60, 80, 120])


def console(width: int) -> tuple[Console, io.StringIO]:
    """As `make_console` makes one, on paper."""
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def shown(
    chosen: Experiment, width: int, path: Path = Path("mine.toml"), unweighed: Collection[str] = ()
) -> str:
    """What `show` prints, of models that lie nowhere."""
    located = [
        Located(
            name,
            chosen.models[name],
            Source.HUB,
            None,
            0 if name in unweighed else 273_000_000,
            f"`swapbench models fetch {name}`",
        )
        for name in chosen.model_names()
    ]
    sizes = {model.name: ModelSize(model.weight_bytes, on_disk=False) for model in located}
    paper, out = console(width)
    print_experiment(path, chosen, located, needs(chosen, sizes), THERE, paper)
    print_settings(chosen, None, paper)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_file_is_never_broken(width: int) -> None:
    paper, out = console(width)
    file = "somewhere/else/experiments/of/mine/ci-gate.toml"
    print_experiments([row | {"file": file} for row in ROWS], paper)
    assert [line.strip() for line in out.getvalue().splitlines()].count(file) == len(ROWS)


@every_width
def test_names_and_scenarios_stand_whole_in_a_list(width: int) -> None:
    paper, out = console(width)
    print_experiments(ROWS, paper)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line[:1].strip()] == [row["name"] for row in ROWS]
    words = out.getvalue().replace(",", " ").split()
    assert {"gemma-3-12b", "large-to-large-cold"} <= set(words)


def test_what_a_model_of_unknown_size_takes_is_not_nothing() -> None:
    text = shown(load(find("exp012")), 200, unweighed=["qwen2.5-14b"])
    (row,) = [line for line in text.splitlines() if line.split()[:2] == ["qwen2.5-14b", "hub"]]
    assert row.split()[2] == "unknown"
    assert "memory: at least 260.4 MiB (" in text
    assert "qwen2.5-14b unknown); 24.00 GiB available" in text
    assert "disk for checkpoints: at least 546.0 MB (qwen2.5-14b unknown) to get" in text
    assert "MiB (qwen2.5-14b unknown); with less" in text
    assert "at least" not in shown(load(find("exp012")), 200)


@every_width
def test_names_and_settings_stand_whole_where_one_is_shown(width: int) -> None:
    text = shown(load(find("exp012")), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ("large-to-small", "qwen2.5-14b", "workload.drain_deadline_s", "273.0 MB", "24.00 GiB"):
        assert name in text


def test_a_path_that_is_longer_than_a_line_can_still_be_copied() -> None:
    path = Path("experiments", "of-" + "mine-" * 20 + "all.toml")
    assert str(path) in shown(load(find("exp012")), 60, path).splitlines()


ODD = "[bold]a:smile:[/bold]"


def test_what_a_user_wrote_is_printed_as_it_is() -> None:
    paper, out = console(200)
    row = {"name": ODD, "title": ODD, "models": [ODD], "scenarios": [ODD], "file": ODD}
    print_experiments([row], paper)
    assert out.getvalue().count(ODD) == len(row)


def test_what_a_user_wrote_is_shown_as_it_is() -> None:
    raw = {
        "title": ODD,
        "description": ODD,
        "models": {"small": f"{ODD}/small", "large": f"{ODD}/large"},
        "scenario": [{"name": "up", "from": "small", "to": "large"}],
    }
    text = shown(validate(raw, "mine.toml"), 200, Path(ODD, "mine.toml"))
    assert text.count(ODD) == 5

"""`swapbench history`."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from swapbench.base import figures
from swapbench.base.errors import Exit, UsageError
from swapbench.cli.history import history
from swapbench.compare.history import read_history
from swapbench.compare.series import analyse_history
from swapbench.report.history import print_history
from tests.findings.recording import Recording

app = typer.Typer()
app.command()(history)


def invoke(results: Path, *arguments: str, experiment: str = "up-and-down") -> Result:
    return CliRunner().invoke(app, [experiment, "--results", str(results), *arguments])


def recorded(results: Path, runs: int, changed_at: int | None = None, **settings: Any) -> None:
    """Runs day after day; from `changed_at` on they load a fifth slower, under another MLX."""
    for day in range(runs):
        slower = changed_at is not None and day >= changed_at
        begun = datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(days=day)
        recording = Recording(results, run_id=f"day-{day}", started_at=begun, **settings)
        noise = (day * 7 % 11) / 100
        for scenario, load_s in (("up", 3.0), ("down", 1.0)):
            recording.swap(0, scenario, {"load": load_s * (1.2 if slower else 1) + noise}, first_token_s=0.5)
        worker = recording.writer.info.worker
        assert worker is not None
        versions = {"mlx": "0.33.0" if slower else "0.32.4"}
        recording.writer.update(status="complete", worker=worker.model_copy(update={"versions": versions}))


def test_the_trend_of_every_scenario_is_shown_with_its_changes(tmp_path: Path) -> None:
    recorded(tmp_path, 24, changed_at=14)
    done = invoke(tmp_path)
    assert done.exit_code == Exit.OK
    text = done.stdout
    assert "Apple M4 Pro, 12 cores, 24 GiB, macOS, MLX on gpu\n" in text
    assert "hub models, page cache warm: request → first token, median of each run\n" in text
    up = next(line for line in text.splitlines() if line.split()[:1] == ["up"])
    assert up.split()[1] == "24"
    assert set(up.split()[2]) <= set("▁▂▃▄▅▆▇█")
    assert len(up.split()[2]) == 24
    changes = text[text.index("Changes of level") : text.index("Versions")]
    assert "2026-03-15  3.54 s → 4.15 s, +17 % (+16 % to +18 %), since run day-14" in changes
    assert "within two runs of it: mlx 0.32.4 → 0.33.0" in changes
    assert "2026-03-15  mlx 0.32.4 → 0.33.0, since run day-14" in text[text.index("Versions") :]


def test_too_few_runs_say_how_many_it_takes(tmp_path: Path) -> None:
    recorded(tmp_path, 3)
    assert "not looked for in 3 runs: 10 are needed" in invoke(tmp_path).stdout
    recorded(tmp_path, 12)
    assert "none found in 12 runs" in invoke(tmp_path).stdout


def test_figure_scenario_strategy_and_last_narrow_it_down(tmp_path: Path) -> None:
    recorded(tmp_path, 12)
    options = ("--figure", "load", "--scenario", "down", "--strategy", "stock", "--last", "5")
    document = json.loads(invoke(tmp_path, *options, "--json").stdout)
    (series,) = document["series"]
    assert (series["scenario"], series["setting"]["figure"]) == ("down", "load")
    assert [point["run_id"] for point in series["points"]] == [f"day-{day}" for day in range(7, 12)]


def test_json_has_every_point_and_change(tmp_path: Path) -> None:
    recorded(tmp_path, 24, changed_at=14)
    document = json.loads(invoke(tmp_path, "--json").stdout)
    assert list(document) == ["history_version", "experiment", "runs", "series", "left_out"]
    up = next(series for series in document["series"] if series["scenario"] == "up")
    assert list(up) == [
        *("scenario", "strategy", "setting", "differs", "points", "median_s", "latest"),
        *("trend", "changes", "versions"),
    ]
    assert up["points"][0] == {
        "run_id": "day-0",
        "started_at": "2026-03-01T10:00:00+00:00",
        "seconds": 3.5,
        "swaps": 1,
    }
    (change,) = up["changes"]
    assert list(change) == ["run_id", "started_at", "before_s", "after_s", "ratio", "versions"]


@pytest.mark.parametrize("names", [["up"], ["small-to-large", "large-to-small", "large-to-large-again"]])
def test_no_figure_is_cut_at_any_width(tmp_path: Path, names: list[str]) -> None:
    scenarios = [{"name": name, "from": "small", "to": "large"} for name in names]
    for run in range(30):
        begun = datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(days=run)
        recording = Recording(tmp_path, run_id=f"day-{run}", started_at=begun, scenario=scenarios)
        for name in names:
            recording.swap(0, name, {"load": 123.0 + run % 7 + (25 if run > 14 else 0)})
    past = analyse_history(read_history([tmp_path], "up-and-down"))
    for width in range(80, 201, 5):
        console = Console(file=io.StringIO(), width=width, highlight=False)
        print_history(past, console)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for series in past.series:
            assert series.latest is not None
            assert text.count(figures.ratio_change(series.latest)) == len(names)
            assert text.count(figures.seconds(series.points[-1].seconds)) >= len(names)
            assert text.count(f"±{series.trend.spread * 100:.1f} %") == len(names)


def test_what_is_left_out_is_said_beside_it(tmp_path: Path) -> None:
    recorded(tmp_path, 3)
    for number in (1, 2):
        (tmp_path / "up-and-down" / f"day-{number}" / "run.json").write_text("{")
    done = invoke(tmp_path)
    assert done.exit_code == Exit.OK
    assert "day-1 and 1 more: run.json: not valid JSON" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--figure", "laod"], 'no figure "laod"; did you mean "load"?'),
        (["--scenario", "upp"], 'no scenario "upp" in this history; did you mean "up"?'),
        (["--strategy", "stok"], 'no strategy "stok" in this history; did you mean "stock"?'),
    ],
)
def test_an_unknown_name_is_one_line_and_exits_with_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    recorded(tmp_path, 1)
    done = invoke(tmp_path, *arguments)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == says
    assert done.exception.exit_code == Exit.USAGE


def test_an_unknown_experiment_is_one_line(tmp_path: Path) -> None:
    done = invoke(tmp_path)
    assert str(done.exception) == f'no run of "up-and-down" under {tmp_path}; `swapbench run quick` makes one'
    recorded(tmp_path, 1)
    done = invoke(tmp_path, experiment="up-and-dwn")
    assert str(done.exception) == f'no run of "up-and-dwn" under {tmp_path}; did you mean "up-and-down"?'

"""`swapbench history` and `swapbench baseline`."""

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
from swapbench.base.errors import Exit, SwapbenchError, UsageError
from swapbench.cli import app as everything
from swapbench.cli.gate import history
from swapbench.compare.history import analyse_history, read_history
from swapbench.report.forms import print_history
from tests.findings.recording import Recording
from tests.played import a_run, pairs
from tests.scripted import scripted

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


def baseline(*arguments: str | Path) -> Result:
    return CliRunner().invoke(everything, ["baseline", *map(str, arguments)])


def error(done: Result) -> str:
    assert isinstance(done.exception, SwapbenchError)
    assert done.exception.exit_code is Exit.USAGE
    return str(done.exception)


def test_the_latest_run_is_saved_when_none_is_named(tmp_path: Path) -> None:
    a_run(tmp_path)
    done = baseline("save", "nightly", "--results", tmp_path)
    assert done.exit_code == Exit.OK
    assert done.stderr == f"{tmp_path}/baselines/nightly: 1 new, 1 in all\n"
    again = baseline("save", "nightly", "--results", tmp_path)
    assert again.stderr == f"{tmp_path}/baselines/nightly: 0 new, 1 in all\n"


def test_several_are_saved_at_once_and_are_no_runs_themselves(tmp_path: Path) -> None:
    names = [a_run(tmp_path).info.run_id for _ in range(3)]
    assert baseline("save", "nightly", *names, "--results", tmp_path).stderr.endswith("3 new, 3 in all\n")
    listed = CliRunner().invoke(everything, ["runs", "--json", "--results", str(tmp_path)])
    assert [row["run_id"] for row in json.loads(listed.stdout)] == names


def test_baselines_are_listed(tmp_path: Path) -> None:
    assert baseline("list", "--results", tmp_path).stderr == (
        f"no baseline under {tmp_path}/baselines; `swapbench baseline save NAME` makes one\n"
    )
    assert json.loads(baseline("list", "--json", "--results", tmp_path).stdout) == []
    a_run(tmp_path)
    baseline("save", "nightly", "--results", tmp_path)
    assert "nightly" in baseline("list", "--results", tmp_path).stdout
    (row,) = json.loads(baseline("list", "--json", "--results", tmp_path).stdout)
    assert list(row) == ["name", "experiments", "runs", "latest"]
    assert (row["name"], row["experiments"], row["runs"]) == ("nightly", ["scripted"], 1)


def test_a_baseline_is_shown_as_the_history_of_its_experiments(tmp_path: Path) -> None:
    runs = [a_run(tmp_path), a_run(tmp_path, name="another")]
    baseline("save", "nightly", *(run.folder for run in runs), "--results", tmp_path)
    shown = baseline("show", "nightly", "--results", tmp_path).stdout
    assert "scripted: 1 run kept; to judge by them, 10 alike are wanted" in shown
    documents = json.loads(baseline("show", "nightly", "--json", "--results", tmp_path).stdout)
    assert [document["experiment"] for document in documents] == ["another", "scripted"]
    (series, _) = documents[1]["series"]
    assert [point["run_id"] for point in series["points"]] == [runs[0].info.run_id]


def test_every_command_reads_a_kept_run(tmp_path: Path) -> None:
    run = a_run(tmp_path / "results")
    baseline("save", "nightly", run.folder, "--results", tmp_path / "results")
    again = a_run(tmp_path / "results")
    nightly = tmp_path / "results" / "baselines" / "nightly"

    def said(*words: str | Path) -> str:
        return CliRunner().invoke(everything, [*map(str, words)]).stdout

    told = said("report", f"nightly/scripted/{run.info.run_id}", "--results", tmp_path / "results")
    kept = nightly / "scripted" / run.info.run_id
    assert told.replace(str(kept), "") == said("report", run.folder).replace(str(run.folder), "")
    compared = said("compare", kept, again.folder, "--format", "json")
    assert run.info.run_id in compared
    assert '"comparable": true' in compared
    assert "scripted" in said("history", "scripted", "--results", nightly)
    assert run.info.run_id in said("runs", "--results", nightly, "--json")


def test_what_can_not_be_kept_or_found_is_told(tmp_path: Path) -> None:
    assert error(baseline("save", "nightly", "--results", tmp_path)).startswith(f"no run under {tmp_path}")
    run = pairs(tmp_path, scripted(), scripted())
    said = error(baseline("save", "nightly", run.folder, "--results", tmp_path))
    assert said == f"{run.folder}: has two arms; a baseline keeps runs of one thing"
    a_run(tmp_path)
    misnamed = error(baseline("save", "../up", "--results", tmp_path))
    assert misnamed.startswith('"../up": a baseline is named by')
    baseline("save", "nightly", "--results", tmp_path)
    assert 'did you mean "nightly"?' in error(baseline("show", "nightyl", "--results", tmp_path))

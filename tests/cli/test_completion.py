"""What a shell completes."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swapbench.cli import completion
from swapbench.strategy import NAMED
from tests.cli.invoking import swapbench


def line(**options: Any) -> Any:
    """A command line so far."""
    return SimpleNamespace(params=options)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run in ("exp012/20260125T101500Z-hub", "exp012/20260126T101500Z-hub", "quick/20260127T101500Z-mini"):
        folder = tmp_path / "results" / run
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    return tmp_path / "results"


def test_experiments_by_the_beginning_of_their_names() -> None:
    assert completion.experiments("exp012") == [
        *("exp012", "exp012-loaded", "exp012-sharded", "exp012-traffic")
    ]


def test_runs_latest_first_with_their_experiments(results: Path) -> None:
    assert completion.runs(line(results=results), "2026") == [
        ("20260127T101500Z-mini", "quick"),
        ("20260126T101500Z-hub", "exp012"),
        ("20260125T101500Z-hub", "exp012"),
    ]


def test_experiments_stand_for_their_latest_run(results: Path) -> None:
    assert completion.runs_and_experiments(line(results=results), "q") == [("quick", "its latest run")]
    assert completion.experiments_run(line(results=[results]), "") == ["exp012", "quick"]


def test_models_with_their_titles() -> None:
    assert ("gemma-3-12b", "Gemma 3 12B it, 4-bit") in completion.models("gemma")


def test_targets_built_in_and_by_preset() -> None:
    assert completion.targets("")[:3] == ["inprocess", "sharded", "scripted"]
    assert "mlx_lm" in completion.targets("mlx")


def test_strategies_that_are_known_and_those_of_the_experiment() -> None:
    assert completion.strategies(line(), "") == [str(name) for name in NAMED]
    assert "map-keep" in completion.strategies(line(experiment="exp013-strategies"), "map")


def test_scenarios_of_the_experiment_and_what_a_history_follows() -> None:
    assert completion.scenarios(line(experiment="exp012"), "large") == ["large-to-large", "large-to-small"]
    assert completion.figures("re") == ["reconfigure", "reinit"]
    assert completion.arms("") == ["A", "B"]


def test_an_experiment_that_is_none_completes_as_if_it_were_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[[[")
    for name in ("nothing", str(broken)):
        assert completion.strategies(line(experiment=name), "sl") == ["slab"]
        assert completion.scenarios(line(experiment=name), "") == []


def test_a_shell_is_answered_by_the_real_command_line(tmp_path: Path) -> None:
    done = swapbench(
        tmp_path,
        _SWAPBENCH_COMPLETE="complete_bash",
        COMP_WORDS="swapbench run quick --target mlx",
        COMP_CWORD="4",
    )
    assert done.stdout.split() == ["mlx_lm"]


def test_completing_loads_nothing_that_takes_long() -> None:
    script = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from swapbench.cli import completion\n"
        "line = SimpleNamespace(params={})\n"
        "completion.runs(line, ''), completion.models(''), completion.targets('')\n"
        "completion.experiments(''), completion.figures('')\n"
        "completion.strategies(line, ''), completion.baselines(line, '')\n"
        "print({'mlx', 'mlx_lm', 'pandas', 'duckdb', 'numpy', 'rich', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

"""What a shell completes."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from swapbench.cli import app, completion
from swapbench.spec.experiment import Experiment
from swapbench.spec.strategy import NAMED
from swapbench.store import Run
from tests.played import pairs
from tests.scripted import scripted


def completed(folder: Path, line: str, shell: str = "bash") -> list[str]:
    """What a shell is told where the cursor stands at the end of a line."""
    if shell == "bash":
        told = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    else:
        told = {"_TYPER_COMPLETE_ARGS": line}
    environment = {"_SWAPBENCH_COMPLETE": f"complete_{shell}", **told}
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, env=environment, prog_name="swapbench")
    assert done.stderr == ""
    if shell == "bash":
        return done.stdout.split()
    return re.findall(r"""^(?:_arguments '\*: :\(\()?"([^"]+)""", done.stdout, re.MULTILINE)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run in (
        "baselines/nightly/exp012/20260124T101500Z-hub",
        "exp012/20260125T101500Z-hub",
        "exp012/20260126T101500Z-hub",
        "quick/20260127T101500Z-mini",
    ):
        folder = tmp_path / "results" / run
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    return tmp_path / "results"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("run exp012-", ["exp012-loaded", "exp012-sharded", "exp012-traffic"]),
        ("run exp013-strategies --strategy ma", ["map", "map-keep"]),
        ("run --rounds 3 exp013-strategies --strategy slab --strategy map-", ["map-keep"]),
        ("run exp012 --strategy ma", ["map"]),
        ("run --strategy sl", ["slab"]),
        ("run nothing --strategy sl", ["slab"]),
        ("run quick --target mlx_", ["mlx_lm"]),
        ("run quick --set rou", ["rounds="]),
        ("ab quick --b-set engine.kv_bud", ["engine.kv_budget_bytes="]),
        ("gate exp012 --set models.gem", ["models.gemma-3-12b="]),
        ("show exp012 --set rounds=", ["rounds="]),
        ("show exp012 --set str", ["strategy="]),
        ("show exp012 --set rounds=3", []),
        ("models rm --source ", ["synthetic", "mini"]),
        ("models repack x --source ", ["hub", "synthetic", "mini"]),
        ("run quick --models l", ["local"]),
        ("run quick --models s", ["synthetic"]),
        ("history exp012 --scenario la", ["large-to-large", "large-to-small"]),
        ("history nothing --scenario ", []),
        ("history exp012 --figure re", ["reconfigure", "reinit"]),
        ("models synth gemma", ["gemma-3-12b"]),
    ],
)
def test_a_shell_is_answered_by_what_stands_on_the_line(
    tmp_path: Path, line: str, names: list[str], shell: str
) -> None:
    assert completed(tmp_path, f"swapbench {line}", shell) == names


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("report 2026", ["20260127T101500Z-mini", "20260126T101500Z-hub", "20260125T101500Z-hub"]),
        ("report q", ["quick"]),
        ("history ", ["exp012", "quick"]),
        ("run --resume 20260126", ["20260126T101500Z-hub"]),
        ("baseline show ", ["nightly"]),
        ("gate exp012 --baseline n", ["nightly"]),
    ],
)
def test_runs_and_baselines_are_those_under_the_results_that_the_line_names(
    results: Path, tmp_path: Path, line: str, names: list[str], shell: str
) -> None:
    assert completed(tmp_path, f"swapbench {line}", shell) == names
    results.rename(tmp_path / "other")
    assert completed(tmp_path, f"swapbench {line}", shell) == []
    words = line.split(" ")
    before = 1 + (words[0] == "baseline")
    option = "--out" if words[0] in ("run", "gate") else "--results"
    elsewhere = " ".join([*words[:before], option, "other", *words[before:]])
    assert completed(tmp_path, f"swapbench {elsewhere}", shell) == names


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_arms_and_strategies_are_those_of_the_run_on_the_line(tmp_path: Path, shell: str) -> None:
    two = pairs(tmp_path / "results", scripted(), scripted())
    three = _with_a_third_arm(pairs(tmp_path / "other", scripted(strategy=["stock", "slab"]), scripted()))
    for line, names in (
        (f"report {two.info.run_id} --arm ", ["A", "B"]),
        ("report --arm ", ["A", "B"]),
        (f"report --results other {three.info.run_id} --arm ", ["A", "B", "C"]),
        ("report --results other --arm ", ["A", "B", "C"]),
        ("report nothing --arm ", ["A", "B"]),
        ("report --results other scripted --strategy ", ["stock", "slab"]),
        ("report nothing --strategy ", []),
    ):
        assert completed(tmp_path, f"swapbench {line}", shell) == names


def test_paths_may_begin_at_home(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.toml").write_text("strategy = 'slab-mine'")
    away = tmp_path / "away"
    away.mkdir()
    assert completed(away, "swapbench report --results ~/results q") == ["quick"]
    assert completed(away, "swapbench report --results ~nobody/results q") == []
    assert completed(away, "swapbench run ~/mine.toml --strategy slab-") == ["slab-mine"]


def _with_a_third_arm(run: Run) -> Run:
    path = run.folder / "run.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["arms"].append(document["arms"][0] | {"name": "C"})
    path.write_text(json.dumps(document), encoding="utf-8")
    return run


@pytest.mark.parametrize(
    ("written", "strategies", "scenarios"),
    [
        ("[[[", [], []),
        ('strategy = 5\nscenario = "x"', [], []),
        ("strategy = [5, 'slab-mine']\nscenario = ['x', { from = 'a' }, { name = 5 }]", ["slab-mine"], []),
        ("strategy = 'slab-mine'\n[scenario]\nname = 'up'", ["slab-mine"], []),
        ("[strategy.slab-mine]\n[[scenario]]\nname = 'up'", ["slab-mine"], ["up"]),
    ],
)
def test_a_file_that_is_no_experiment_completes_as_far_as_it_can_be_read(
    tmp_path: Path, written: str, strategies: list[str], scenarios: list[str]
) -> None:
    (tmp_path / "mine.toml").write_text(written)
    assert completed(tmp_path, "swapbench run mine.toml --strategy sl") == ["slab", *strategies]
    assert completed(tmp_path, "swapbench history mine.toml --scenario ") == scenarios


def test_experiments_by_the_beginning_of_their_names() -> None:
    assert [name for name in completion.experiments() if str(name).startswith("exp012")] == [
        *("exp012", "exp012-loaded", "exp012-sharded", "exp012-traffic")
    ]


def test_runs_latest_first_with_their_experiments(results: Path) -> None:
    line = SimpleNamespace(params={"results": results}, args=[])
    assert completion.runs(line) == [
        ("20260127T101500Z-mini", "quick"),
        ("20260126T101500Z-hub", "exp012"),
        ("20260125T101500Z-hub", "exp012"),
    ]
    assert list(completion.runs_and_experiments(line))[3:] == [
        ("exp012", "its latest run"),
        ("quick", "its latest run"),
    ]


def test_models_with_their_titles() -> None:
    assert ("gemma-3-12b", "Gemma 3 12B it, 4-bit") in list(completion.models())


def test_targets_built_in_and_by_preset() -> None:
    assert list(completion.targets())[:3] == ["inprocess", "sharded", "scripted"]
    assert "mlx_lm" in list(completion.targets())


def test_strategies_of_no_experiment_are_those_that_are_known() -> None:
    assert list(completion.strategies(SimpleNamespace(params={}, args=[]))) == [*NAMED]


def test_completing_loads_nothing_that_takes_long() -> None:
    script = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from swapbench.cli import completion\n"
        "line = SimpleNamespace(params={}, args=[])\n"
        "completion.runs(line), completion.models(), completion.targets()\n"
        "completion.experiments(), completion.figures()\n"
        "completion.strategies(line), completion.baselines(line)\n"
        "completion.scenarios(line), completion.arms(line)\n"
        "print({'mlx', 'mlx_lm', 'pandas', 'numpy', 'rich', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_key_that_is_offered_can_be_set() -> None:
    keys = list(completion.keys_of(Experiment))
    assert {"rounds", "workload.agents", "verify.tokens", "sharded.ranks"} <= set(keys)
    assert not {"models", "scenario", "criterion", "schema_version"} & set(keys)
    for key in keys:
        *tables, last = key.split(".")
        schema = Experiment.model_json_schema(by_alias=True)
        node = schema
        for table in tables:
            node = node["properties"][table]
            (reference,) = re.findall(r"#/\$defs/(\w+)", json.dumps(node))
            node = schema["$defs"][reference]
        assert last in node["properties"], key

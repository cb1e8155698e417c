"""`swapbench list`, `show`, `schema` and `init`, as a user calls them."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from swapbench.spec.experiment import load, schema
from tests.cli.invoking import error_of
from tests.cli.invoking import swapbench as called
from tests.environments import thin
from tests.forking import run_forked_text

TWO_MODELS = """
title = "Mine [of two]"
{settings}
[models]
small = "mlx-community/SmolLM2-135M-Instruct"
large = "mlx-community/gemma-3-12b-it-4bit"
[[scenario]]
name = "up"
from = "small"
to = "large"
"""

SCRIPTED = (
    TWO_MODELS.format(settings='target = "scripted"')
    + """
[script]
seconds = { load = 3 }
model_bytes = { small = 1_073_741_824, large = 8_589_934_592 }
"""
)


def swapbench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command, with an empty cache of models in `cwd`."""
    homes = {"HF_HOME": str(cwd / "hf"), "SWAPBENCH_CACHE": str(cwd / "cache"), "COLUMNS": "160"}
    return run_forked_text([*arguments], cwd, os.environ | homes)


def answer(*arguments: str, cwd: Path) -> Any:
    """What the command prints as JSON."""
    done = swapbench(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "experiments" / "mine.toml"
    path.parent.mkdir()
    path.write_text(TWO_MODELS.format(settings="rounds = 7"))
    return path


def test_list_names_local_and_shipped_experiments(mine: Path, tmp_path: Path) -> None:
    done = swapbench("list", cwd=tmp_path)
    assert done.returncode == 0
    assert "Mine [of two]" in done.stdout
    for name in ("mine", "exp011", "exp012", "exp012-loaded", "quick"):
        assert f"\n{name} " in f"\n{done.stdout}"


def test_list_as_json_gives_models_scenarios_and_file(mine: Path, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in answer("list", "--json", cwd=tmp_path)}
    assert rows["mine"] == {
        "name": "mine",
        "title": "Mine [of two]",
        "models": ["small", "large"],
        "scenarios": ["up"],
        "file": "experiments/mine.toml",
    }


def test_list_goes_on_past_a_broken_file_and_says_what_is_wrong_with_it(mine: Path, tmp_path: Path) -> None:
    mine.with_name("broken.toml").write_text("rounds = 0")
    done = swapbench("list", cwd=tmp_path)
    assert done.returncode == 2
    assert "Mine [of two]" in done.stdout
    assert done.stderr.splitlines() == [
        "swapbench: experiments/broken.toml: models: an experiment needs at least one model under [models]"
    ]


def test_show_tells_where_models_are_and_what_a_run_takes(mine: Path, tmp_path: Path) -> None:
    shown = answer("show", "mine", "--json", cwd=tmp_path)
    assert shown["experiment"]["rounds"] == 7
    assert [model["name"] for model in shown["models"]] == ["small", "large"]
    assert all(model["source"] == "hub" and model["path"] is None for model in shown["models"])
    assert all("swapbench models fetch" in model["hint"] for model in shown["models"])
    needs = shown["needs"]
    assert needs["largest_model"] == "large"
    assert needs["missing_bytes"] == sum(model["weight_bytes"] for model in shown["models"])
    assert needs["page_cache_bytes"] == 2 * needs["largest_model_bytes"]
    there = shown["machine"]
    assert isinstance(there.pop("memory_limited_by"), str)
    assert all(value > 0 for value in there.values())


def test_show_prints_scenarios_models_needs_and_settings(mine: Path, tmp_path: Path) -> None:
    shown = swapbench("show", str(mine), cwd=tmp_path).stdout
    for words in ("Mine [of two]", "up", "gemma-3-12b-it-4bit", "memory: ", "disk for checkpoints: ", "warm"):
        assert words in shown


def test_show_sets_what_is_in_effect_beside_what_the_file_says(mine: Path, tmp_path: Path) -> None:
    shown = swapbench("show", "mine", "--set", "rounds=9", "--models", "mini", cwd=tmp_path).stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["rounds", "9", "7"] in rows
    assert ["source", "mini", "hub"] in rows
    assert ["warmup", "0"] in rows


@pytest.mark.parametrize(
    "other", ["scenario.up.to=small", "models.large=mlx-community/SmolLM2-135M-Instruct"]
)
def test_show_says_of_a_swap_of_a_model_for_itself_that_it_is_a_reload(
    mine: Path, tmp_path: Path, other: str
) -> None:
    assert "reload" not in swapbench("show", "mine", cwd=tmp_path).stdout
    models = (
        ()
        if other.startswith("models")
        else ("--set", "models={small = 'mlx-community/SmolLM2-135M-Instruct'}")
    )
    shown = swapbench("show", "mine", "--set", other, *models, cwd=tmp_path).stdout
    assert "(the same: a reload)" in shown


def test_models_is_short_for_setting_the_source(mine: Path, tmp_path: Path) -> None:
    short = answer("show", "mine", "--models", "synthetic", "--json", cwd=tmp_path)
    long = answer("show", "mine", "--set", "source=synthetic", "--json", cwd=tmp_path)
    assert short["experiment"] == long["experiment"]
    assert short["models"] == long["models"]


def test_agents_need_room_for_their_caches_where_results_are_kept(mine: Path, tmp_path: Path) -> None:
    shown = swapbench("show", "mine", "--set", "workload.agents=2", cwd=tmp_path).stdout
    assert "KV caches up to 2.00 GiB" in shown
    assert "disk for results: evicted KV caches up to 4.29 GB" in shown


def test_what_there_is_too_little_of_is_said(mine: Path, tmp_path: Path) -> None:
    wanted = ["workload.agents=2", f"engine.kv_budget_bytes={1 << 50}"]
    shown = swapbench("show", "mine", *(part for key in wanted for part in ("--set", key)), cwd=tmp_path)
    short = [line.partition(":")[0] for line in shown.stdout.splitlines() if line.endswith(": too little")]
    assert short == ["memory", "disk for results"]


def test_a_scripted_experiment_needs_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text(SCRIPTED)
    needs = answer("show", str(file), "--json", cwd=tmp_path)["needs"]
    assert needs["largest_model_bytes"] == 8 << 30
    assert needs["missing_bytes"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exp12"], 'no experiment "exp12"; did you mean "exp012"?'),
        (["nowhere.toml"], "nowhere.toml: no such file; `swapbench list` shows the experiments"),
        (
            ["mine", "--models", "mimi"],
            '--models: "mimi" is not allowed; did you mean "mini"?',
        ),
        (
            ["mine", "--set", "rounds=-1"],
            "--set rounds: must be at least 1 (it is -1)",
        ),
        (
            ["mine", "--set", "scenario=[]"],
            "--set scenario: an experiment needs at least one [[scenario]]",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    mine: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = swapbench("show", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"swapbench: {words}\n"


def test_schema_prints_the_json_schema_of_experiment_files(tmp_path: Path) -> None:
    assert answer("schema", cwd=tmp_path) == schema()


LEAST = """
title = "mine"
[start]
command = ["{program}", "--port", "{{port}}"]
[ask]
body = {{ model = "{{model}}", prompt = "{{prompt}}" }}
"""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "mine.toml"], "no-such-server: no such program on the PATH, and it is to start mine"),
        (["--target", "openai@http://127.0.0.1:9"], "http://127.0.0.1:9: no server listens there"),
        (["--target", "wrong.toml"], 'wrong.toml: tittle: unknown key; did you mean "title"?'),
        (["--target", "inprocess"], 'target "inprocess" is no server'),
        ([], "nothing to show; name an experiment"),
    ],
)
def test_show_says_what_a_run_of_a_target_would_miss(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(LEAST.format(program="no-such-server"))
    (tmp_path / "wrong.toml").write_text(LEAST.format(program="python3").replace("title", "tittle"))
    done = swapbench("show", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"swapbench: {says}")
    assert len(done.stderr.splitlines()) == 1


def test_show_says_all_that_a_run_of_a_target_would_miss(tmp_path: Path) -> None:
    text = LEAST.format(program="no-such-server")
    (tmp_path / "mine.toml").write_text('headers = { key = "{env:NO_SUCH_KEY}" }' + text)
    done = swapbench("show", "--target", "mine.toml", cwd=tmp_path)
    assert done.returncode == 2
    key, program = done.stderr.splitlines()
    assert "the environment variable NO_SUCH_KEY is not set" in key
    assert "no such program" in program


def test_show_prints_what_a_server_would_be_asked(tmp_path: Path) -> None:
    done = swapbench("show", "--target", "mlx_lm", cwd=tmp_path)
    assert done.returncode == 0
    for words in ("mlx_lm.server", "GET /health answers 200", 'POST /v1/completions {"model": "{model}"'):
        assert words in done.stdout
    assert answer("show", "--target", "mlx_lm", "--json", cwd=tmp_path)["name"] == "mlx_lm"


def test_an_experiment_is_commented_and_valid(tmp_path: Path) -> None:
    done = called(tmp_path, "init", "experiment", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mine.toml\n"
    assert "swapbench run ./mine.toml" in done.stderr
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert "{{" not in text
    assert text.count("\n#") > 20
    assert load(tmp_path / "mine.toml").title == "mine"


def test_keys_that_are_commented_out_show_their_defaults(tmp_path: Path) -> None:
    called(tmp_path, "init", "experiment", "mine")
    path = tmp_path / "mine.toml"
    before = load(path).model_dump(exclude={"expected_s"})
    lines = path.read_text(encoding="utf-8").splitlines()
    shown = [line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in lines]
    assert shown != lines
    path.write_text("\n".join(line for line in shown if not _is_prose(line)), encoding="utf-8")
    assert load(path).model_dump(exclude={"expected_s"}) == before


def _is_prose(line: str) -> bool:
    return line.startswith("A name of your choosing = ")


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    done = called(tmp_path, "init", "experiment", "mine")
    assert done.returncode == 2
    assert "is there already" in error_of(done)
    assert (tmp_path / "mine.toml").read_text() == "mine"


@pytest.mark.parametrize("name", ["Mine!", "", "-", "a--b", "a-", "a_b", "a\n", "Mine", "ähm", "größe", "٣"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = called(tmp_path, "init", "experiment", "--", name)
    assert done.returncode == 2
    assert "lower-case letters, digits and dashes" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["exp-12", "12", "my-2", "2-my"])
def test_digits_may_stand_anywhere_in_an_experiments_name(tmp_path: Path, name: str) -> None:
    done = called(tmp_path, "init", "experiment", name)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / f"{name}.toml").title == name


def test_a_targets_name_with_digits_makes_a_package_that_python_takes(tmp_path: Path) -> None:
    done = called(tmp_path, "init", "target", "my-2-x")
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((tmp_path / "my-2-x" / "pyproject.toml").read_text(encoding="utf-8"))
    (where,) = project["project"]["entry-points"]["swapbench.targets"].values()
    module, _, name = where.partition(":")
    compiled = compile((tmp_path / "my-2-x" / f"{module}.py").read_text(encoding="utf-8"), module, "exec")
    assert name in compiled.co_names


@pytest.mark.parametrize("name", ["12", "1x", "2-my"])
def test_a_target_can_not_begin_with_a_digit_as_no_module_can(tmp_path: Path, name: str) -> None:
    done = called(tmp_path, "init", "target", name)
    assert done.returncode == 2
    assert "can't begin with a digit" in error_of(done)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["class", "json", "vllm", "inprocess", "numpy", "mlx-lm", "swapbench"])
def test_a_target_hides_no_module_and_no_other_target(tmp_path: Path, name: str) -> None:
    done = called(tmp_path, "init", "target", name)
    assert done.returncode == 2
    assert "choose another name" in error_of(done)
    assert not (tmp_path / name).exists()


def test_modules_and_packages_of_another_interpreter_are_those_that_count(tmp_path: Path) -> None:
    (tmp_path / "site" / "my_dist-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "my_dist-1.0.dist-info" / "METADATA").write_text("Name: my_dist\nVersion: 1.0\n")
    (tmp_path / "site" / "my_server.py").touch()
    theirs = thin(tmp_path / "theirs", tmp_path / "site")
    for name in ("my-server", "my-dist"):
        done = called(tmp_path, "init", "target", name, "--python", theirs)
        assert done.returncode == 2
        assert error_of(done) == f'"{name}": {theirs} has a package of that name; choose another name'
    done = called(tmp_path, "init", "target", "my-other", "--python", theirs)
    assert done.returncode == 0, done.stderr
    assert f"{theirs} -m pip install -e my-other && " in done.stderr
    assert done.stderr.endswith(f" --target my-other --python {theirs}\n")


@pytest.mark.parametrize("kind", ["experiment", "target"])
def test_a_folder_is_made_where_its_own_is_there(kind: str, tmp_path: Path) -> None:
    done = called(tmp_path, "init", kind, "mine", "--folder", "new")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "new").iterdir())
    done = called(tmp_path, "init", kind, "mine", "--folder", "typo/new")
    assert done.returncode == 2
    assert error_of(done) == "--folder typo/new: typo is no folder; choose one that is there"
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("kind", ["experiment", "target"])
def test_what_is_no_folder_is_one_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = called(tmp_path, "init", kind, "mine", "--folder", "file")
    assert done.returncode == 2
    assert error_of(done).startswith("--folder file: can't be written: ")

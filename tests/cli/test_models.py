"""`swapbench models`, in this process; what makes checkpoints is the real child."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from swapbench.base.errors import ModelError, SwapbenchError, UsageError
from swapbench.cli.models import app
from tests.models.stand_ins.test_order import LLAMA

Cli = Callable[..., Result]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setenv("SWAPBENCH_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


@pytest.fixture
def cli(cache: Path) -> Cli:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.fixture
def loadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is there counts as what mlx-lm loads; how it is asked is for tests/models to show."""
    monkeypatch.setattr("swapbench.models.validation.ask", lambda *_: {})


def refused(result: Result) -> str:
    """The explanation that main() prints in one line."""
    assert isinstance(result.exception, SwapbenchError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def config_file(folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(LLAMA))
    return str(path)


def listed(cli: Cli) -> dict[str, dict[str, Any]]:
    """What `list --json` says, by model and source."""
    document = json.loads(cli("list", "--json").stdout)
    return {row["name"]: {entry["source"]: entry for entry in row["sources"]} for row in document["models"]}


@pytest.mark.parametrize("command", ["list", "synth", "fetch", "repack", "rm"])
def test_every_help_has_an_example(cli: Cli, command: str) -> None:
    assert f"swapbench models {command}" in cli(command, "--help").stdout


def test_list_tells_where_each_checkpoint_is_or_is_not(cli: Cli, cache: Path) -> None:
    assert cli("synth", "--mini", "smollm2-135m").exit_code == 0
    models = listed(cli)
    assert list(models) == ["smollm2-135m", "gemma-3-12b", "qwen2.5-0.5b", "qwen2.5-7b", "qwen2.5-14b"]
    assert models["smollm2-135m"]["mini"]["path"] == str(cache / "mini" / "smollm2-135m")
    assert models["smollm2-135m"]["synthetic"]["path"] is None
    assert "swapbench models synth smollm2-135m" in models["smollm2-135m"]["synthetic"]["hint"]
    assert models["gemma-3-12b"]["hub"]["weight_bytes"] > 8e9
    assert "gemma-3-12b" in cli("list").stdout


def test_a_models_own_config_makes_a_checkpoint_that_is_listed(cli: Cli, cache: Path, tmp_path: Path) -> None:
    made = cli("synth", "--config", config_file(tmp_path), "--name", "mine")
    assert f"mine: made, {cache / 'synthetic' / 'mine'}" in made.stdout
    assert "mine: there already" in cli("synth", "mine").stdout
    assert listed(cli)["mine"]["synthetic"]["path"] == str(cache / "synthetic" / "mine")


def test_a_damaged_checkpoint_does_not_hide_the_others_from_the_list(
    cli: Cli, cache: Path, tmp_path: Path
) -> None:
    cli("synth", "--config", config_file(tmp_path), "--name", "mine")
    (cache / "synthetic" / "mine" / "config.json").write_text("{")
    models = listed(cli)
    assert "not valid JSON" in models["mine"]["synthetic"]["hint"]
    assert "gemma-3-12b" in models


def test_an_experiment_stands_for_its_models(cli: Cli, cache: Path) -> None:
    assert cli("synth", "--mini", "exp012").exit_code == 0
    assert sorted(path.name for path in (cache / "mini").iterdir() if path.is_dir()) == [
        "gemma-3-12b-text",
        "qwen2.5-14b",
        "smollm2-135m",
    ]


def test_a_folder_that_an_experiment_names_is_left_as_it_is(cli: Cli, cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        "[models]\nsmall = 'smollm2-135m'\nown = './own'\n"
        "[[scenario]]\nname = 'up'\nfrom = 'small'\nto = 'own'\n"
    )
    made = cli("synth", "--mini", str(mine))
    assert made.exit_code == 0, made.exception
    assert made.stdout.splitlines() == [f"smollm2-135m: made, {cache / 'mini' / 'smollm2-135m'}"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--name", "x"), ("smollm2-135m", "--config", "config.json", "--name", "x"), ("--config", "x.json")],
)
def test_synth_wants_models_or_else_a_config_with_a_name(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli("synth", *arguments)
    assert isinstance(result.exception, UsageError)
    assert "--config FILE and --name NAME" in refused(result)


def test_a_name_of_the_catalogue_is_not_given_away(cli: Cli, tmp_path: Path) -> None:
    result = cli("synth", "--config", config_file(tmp_path), "--name", "Gemma-3-12B")
    assert "choose another name" in refused(result)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", ".x", "a/b"])
def test_no_name_leads_out_of_the_cache(cli: Cli, tmp_path: Path, cache: Path, name: str) -> None:
    assert "can't name a model" in refused(cli("synth", "--config", config_file(tmp_path), "--name", name))
    assert "can't name a model" in refused(cli("rm", name))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("synth", "smolm2-135m"), 'did you mean "smollm2-135m"'),
        (("fetch", "gema-3-12b"), 'did you mean "gemma-3-12b"'),
        (("fetch", "exp0122"), 'did you mean "exp012"'),
        (("synth", "./nothing/x"), "./nothing/x: a folder is used as it is; name experiments or models, or"),
        (("synth", "--mini", "smollm2-135m", "~/x"), "~/x: a folder is used as it is"),
        (
            ("fetch", "./nothing/x"),
            "./nothing/x: a folder is used as it is; name experiments, models or repos",
        ),
        (("fetch", "/nothing/x"), "/nothing/x: a folder is used as it is"),
        (("repack", "gema-3-12b", "--out", "x"), 'did you mean "gemma-3-12b"'),
        (("repack", "gemma-3-12b", "--out", "x"), "`swapbench models list` shows what gets it"),
        (("repack", "gemma-3-12b", "--out", "x", "--source", "hub"), "`swapbench models fetch gemma-3-12b`"),
        (
            ("repack", "gemma-3-12b", "--out", "x", "--source", "y"),
            "--source y: must be hub, synthetic or mini",
        ),
        (("repack", "./nothing", "--out", "x"), "nothing is no whole checkpoint"),
        (("rm", "nothing"), 'no checkpoint of "nothing" was made'),
        (("rm",), "give the names of models, or --all"),
        (("rm", "x", "--all"), "give the names of models, or --all"),
        (("rm", "x", "--source", "hub"), "--source hub: must be synthetic or mini"),
    ],
)
def test_what_can_not_be_meant_is_answered_in_one_line(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(cli(*arguments))


def test_rm_removes_what_is_named_and_nothing_else(cli: Cli, cache: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        cli("synth", "--mini", "--config", config_file(tmp_path), "--name", name)
    assert "one (mini): removed" in cli("rm", "one").stdout
    assert [path.name for path in (cache / "mini").iterdir() if path.is_dir()] == ["two"]


def test_rm_all_can_be_kept_to_one_source(cli: Cli, cache: Path, tmp_path: Path) -> None:
    for options in ((), ("--mini",)):
        cli("synth", *options, "--config", config_file(tmp_path), "--name", "mine")
    cli("rm", "--all", "--source", "mini")
    assert listed(cli)["mine"].keys() == {"synthetic"}
    cli("rm", "--all")
    assert "mine" not in listed(cli)


def test_rm_of_several_removes_none_when_one_is_wrong(cli: Cli, cache: Path, tmp_path: Path) -> None:
    cli("synth", "--mini", "--config", config_file(tmp_path), "--name", "mine")
    result = cli("rm", "mine", "nothing")
    assert isinstance(result.exception, ModelError)
    assert "mine" in listed(cli)


def test_repack_says_what_it_did_and_what_it_need_not_do(cli: Cli, tmp_path: Path) -> None:
    cli("synth", "--mini", "--config", config_file(tmp_path), "--name", "mine")
    out = tmp_path / "copy"
    assert f"mine: repacked, {out}" in cli("repack", "mine", "--out", str(out)).stdout
    assert f"mine: repacked already, {out}" in cli("repack", "mine", "--out", str(out)).stdout
    again = cli("repack", str(out), "--out", str(tmp_path / "again"))
    assert f"aligned already, {out}; nothing was written" in again.stdout
    assert again.exit_code == 0
    assert not (tmp_path / "again").exists()


@pytest.mark.usefixtures("loadable")
def test_repack_shows_how_far_it_is(cli: Cli, tmp_path: Path) -> None:
    cli("synth", "--mini", "--config", config_file(tmp_path), "--name", "mine")
    shown = cli("repack", "mine", "--out", str(tmp_path / "copy")).stderr.splitlines()
    done, _, total = shown[-1].removeprefix("mine: ").partition(" of ")
    assert done == total


@pytest.mark.usefixtures("loadable")
def test_repack_of_a_model_that_is_there_twice_wants_to_know_which(
    cli: Cli, cache: Path, tmp_path: Path
) -> None:
    for options in ((), ("--mini",)):
        cli("synth", *options, "--config", config_file(tmp_path), "--name", "mine")
    out = str(tmp_path / "copy")
    said = refused(cli("repack", "mine", "--out", out))
    assert said == '"mine" is there as synthetic and mini; say which by --source synthetic or --source mini'
    assert cli("repack", "mine", "--out", out, "--source", "mini").exit_code == 0


def test_repack_of_a_folder_without_its_dot_says_how_to_write_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert "the folder of that name is ./mine" in refused(cli("repack", "mine", "--out", "x"))

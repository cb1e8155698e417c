"""Commands of users without a home, without a name, with a home that is not to be written; from cron."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import UNPROVEN
from tests.environment.circumstances import as_stranger, error_of, run_command

CRON = {"PATH": "/usr/bin:/bin"}
NO_HOME = "nobody knows that home folder; set HOME"

# Nothing of a home is wanted for these.
HOMELESS = (
    ["--help"],
    ["--version"],
    ["list"],
    ["targets"],
    ["runs"],
    ["schema"],
    ["init", "experiment", "mine"],
    ["init", "target", "my-server"],
    ["baseline", "list"],
    ["doctor"],
)
# For these there is no run yet.
IN_VAIN = (["report"], ["history", "quick"])
# These look for models, or make them.
AT_HOME = (
    ["show", "quick"],
    ["show", "exp012"],
    ["run", "quick", "--rounds", "1"],
    ["probe"],
    ["models", "list"],
    ["models", "synth", "smollm2-135m", "--mini"],
)


@pytest.fixture(scope="module")
def stranger() -> list[str]:
    return as_stranger()


@pytest.fixture(scope="module", params=[0o555, 0o000], ids=["read-only", "closed"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One that may not be used."""
    folder = tmp_path_factory.mktemp("home")
    folder.chmod(request.param)
    yield folder
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", HOMELESS, ids=" ".join)
def test_nothing_of_a_home_is_wanted(words: list[str], stranger: list[str], tmp_path: Path) -> None:
    done = run_command(words, tmp_path, CRON, prefix=stranger, forked=True)
    assert done.returncode == 0, done.stderr
    assert "home" not in done.stderr


@pytest.mark.parametrize("words", IN_VAIN, ids=" ".join)
def test_runs_that_are_not_there_are_missed_as_ever(
    words: list[str], stranger: list[str], tmp_path: Path
) -> None:
    assert "home" not in error_of(run_command(words, tmp_path, CRON, prefix=stranger, forked=True))


@pytest.mark.parametrize("words", AT_HOME, ids=" ".join)
def test_a_home_that_is_not_there_is_missed_in_one_line(
    words: list[str], stranger: list[str], tmp_path: Path
) -> None:
    done = run_command(words, tmp_path, CRON, prefix=stranger, forked=True)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert "set HOME" in said
    assert said.startswith("swapbench: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_a_home_but_with_places_for_models_everything_goes(
    stranger: list[str], model_cache: Path, tmp_path: Path
) -> None:
    environment = CRON | {"SWAPBENCH_CACHE": str(model_cache), "HF_HOME": str(tmp_path / "hub")}
    words = ["run", "quick", "--rounds", "1", "--quiet", *UNPROVEN]
    done = run_command(words, tmp_path, environment, prefix=stranger, forked=True)
    assert done.returncode == 0, done.stderr
    for words in (["doctor"], ["report"], ["history", "quick"], ["models", "list"], ["show", "quick"]):
        done = run_command(words, tmp_path, environment, prefix=stranger, forked=True)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize("words", [*HOMELESS, *AT_HOME], ids=" ".join)
def test_a_home_that_may_not_be_used_is_said_in_one_line_or_does_not_matter(
    words: list[str], home: Path, stranger: list[str], tmp_path: Path
) -> None:
    done = run_command(words, tmp_path, CRON | {"HOME": str(home)}, prefix=stranger, forked=True)
    assert done.returncode in (0, 2), done.stderr
    if done.returncode:
        assert str(home) in done.stderr.splitlines()[-1]


def test_the_home_of_somebody_who_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'source = "local"\n[models]\na = "~nobody-of-that-name/a"\nb = "./b"\n'
        '[[scenario]]\nname = "up"\nfrom = "a"\nto = "b"\n'
    )
    said = error_of(run_command(["run", "mine.toml"], tmp_path, os.environ))
    assert said.startswith(f"~nobody-of-that-name/a: {NO_HOME}")


@pytest.mark.parametrize("mode", [0o555, None], ids=["read-only", "not there"])
@pytest.mark.slow
def test_a_folder_for_temporary_files_that_cannot_be_used_is_said_before_anything_is_measured(
    mode: int | None, stranger: list[str], model_cache: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    if mode is not None:
        temporary.mkdir(mode)
    places = {"HOME": str(tmp_path), "SWAPBENCH_CACHE": str(model_cache), "TMPDIR": str(temporary)}
    done = run_command(["run", "quick", "--rounds", "1"], tmp_path, CRON | places, prefix=stranger)
    assert error_of(done) == (
        f"MLX has no place for temporary files: {temporary} is no folder that may be written; "
        "set TMPDIR to one that may"
    )
    assert not (tmp_path / "results").exists()
    # What needs none goes on, one way or the other.
    for words in () if mode else (["list"], ["show", "quick"], ["doctor"], ["models", "list"]):
        done = run_command(words, tmp_path, CRON | places, prefix=stranger, forked=True)
        assert done.returncode == 0, words

"""Files to start from."""

import tomllib
from pathlib import Path

import pytest

from swapbench.spec.experiment import load
from tests.cli.invoking import error_of, swapbench
from tests.environments import thin


def test_an_experiment_is_commented_and_valid(tmp_path: Path) -> None:
    done = swapbench(tmp_path, "init", "experiment", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mine.toml\n"
    assert "swapbench run ./mine.toml" in done.stderr
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert "{{" not in text
    assert text.count("\n#") > 20
    assert load(tmp_path / "mine.toml").title == "mine"


def test_keys_that_are_commented_out_show_their_defaults(tmp_path: Path) -> None:
    swapbench(tmp_path, "init", "experiment", "mine")
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
    done = swapbench(tmp_path, "init", "experiment", "mine")
    assert done.returncode == 2
    assert "is there already" in error_of(done)
    assert (tmp_path / "mine.toml").read_text() == "mine"


@pytest.mark.parametrize("name", ["Mine!", "", "-", "a--b", "a-", "a_b", "a\n", "Mine", "ähm", "größe", "٣"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = swapbench(tmp_path, "init", "experiment", "--", name)
    assert done.returncode == 2
    assert "lower-case letters, digits and dashes" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["exp-12", "12", "my-2", "2-my"])
def test_digits_may_stand_anywhere_in_an_experiments_name(tmp_path: Path, name: str) -> None:
    done = swapbench(tmp_path, "init", "experiment", name)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / f"{name}.toml").title == name


def test_a_targets_name_with_digits_makes_a_package_that_python_takes(tmp_path: Path) -> None:
    done = swapbench(tmp_path, "init", "target", "my-2-x")
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((tmp_path / "my-2-x" / "pyproject.toml").read_text(encoding="utf-8"))
    (where,) = project["project"]["entry-points"]["swapbench.targets"].values()
    module, _, name = where.partition(":")
    compiled = compile((tmp_path / "my-2-x" / f"{module}.py").read_text(encoding="utf-8"), module, "exec")
    assert name in compiled.co_names


@pytest.mark.parametrize("name", ["12", "1x", "2-my"])
def test_a_target_can_not_begin_with_a_digit_as_no_module_can(tmp_path: Path, name: str) -> None:
    done = swapbench(tmp_path, "init", "target", name)
    assert done.returncode == 2
    assert "can't begin with a digit" in error_of(done)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["class", "json", "vllm", "inprocess", "numpy", "mlx-lm", "swapbench"])
def test_a_target_hides_no_module_and_no_other_target(tmp_path: Path, name: str) -> None:
    done = swapbench(tmp_path, "init", "target", name)
    assert done.returncode == 2
    assert "choose another name" in error_of(done)
    assert not (tmp_path / name).exists()


def test_modules_and_packages_of_another_interpreter_are_those_that_count(tmp_path: Path) -> None:
    (tmp_path / "site" / "my_dist-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "my_dist-1.0.dist-info" / "METADATA").write_text("Name: my_dist\nVersion: 1.0\n")
    (tmp_path / "site" / "my_server.py").touch()
    theirs = thin(tmp_path / "theirs", tmp_path / "site")
    for name in ("my-server", "my-dist"):
        done = swapbench(tmp_path, "init", "target", name, "--python", theirs)
        assert done.returncode == 2
        assert error_of(done) == f'"{name}": {theirs} has a package of that name; choose another name'
    done = swapbench(tmp_path, "init", "target", "my-other", "--python", theirs)
    assert done.returncode == 0, done.stderr
    assert f"{theirs} -m pip install -e my-other && " in done.stderr
    assert done.stderr.endswith(f" --target my-other --python {theirs}\n")


@pytest.mark.parametrize("kind", ["experiment", "target"])
def test_a_folder_is_made_where_its_own_is_there(kind: str, tmp_path: Path) -> None:
    done = swapbench(tmp_path, "init", kind, "mine", "--folder", "new")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "new").iterdir())
    done = swapbench(tmp_path, "init", kind, "mine", "--folder", "typo/new")
    assert done.returncode == 2
    assert error_of(done) == "--folder typo/new: typo is no folder; choose one that is there"
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("kind", ["experiment", "target"])
def test_what_is_no_folder_is_one_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = swapbench(tmp_path, "init", kind, "mine", "--folder", "file")
    assert done.returncode == 2
    assert error_of(done).startswith("--folder file: can't be written: ")

"""Interpreters of others: what they are lent, what they are asked for, what they say."""

import sys
import tomllib
from pathlib import Path

import psutil
import pydantic
import pytest

import swapbench
from swapbench.base import lend
from swapbench.base.errors import UsageError
from swapbench.base.interpreter import said_by
from tests.environments import packages_of, thin

ROOT = Path(__file__).parents[2]
OURS = Path(pydantic.__file__).parents[1]


def test_one_without_swapbench_is_lent_ours_and_nothing_else(tmp_path: Path) -> None:
    python = str(thin(tmp_path / "bare"))
    said, _ = said_by(python, "import swapbench; print(swapbench.__file__)")
    assert said == swapbench.__file__
    said, last = said_by(python, "import pydantic")
    assert (said, last) == ("", "ModuleNotFoundError: No module named 'pydantic'")


def test_one_with_a_swapbench_of_its_own_keeps_it_unless_that_is_an_empty_folder(tmp_path: Path) -> None:
    own = tmp_path / "site" / "swapbench" / "__init__.py"
    own.parent.mkdir(parents=True)
    python = str(thin(tmp_path / "theirs", tmp_path / "site"))
    assert said_by(python, "import swapbench; print(swapbench.__file__)")[0] == swapbench.__file__
    own.touch()
    assert said_by(python, "import swapbench; print(swapbench.__file__)")[0] == str(own)


def test_it_is_told_all_that_it_lacks_with_the_command_of_what_it_is_installed_by(tmp_path: Path) -> None:
    python = str(thin(tmp_path / "bare"))
    code = 'print(lend["want"](*sys.argv[1:]))'
    assert said_by(python, code, "mlx-lm")[0] == (
        "it lacks pydantic>=2.8 and psutil>=6 and numpy>=1 and mlx-lm>=0.30; "
        f"`uv pip install --python {python} 'pydantic>=2.8' 'psutil>=6' 'numpy>=1' 'mlx-lm>=0.30'` "
        "installs that"
    )
    (packages_of(tmp_path / "bare") / "pip.py").touch()
    assert f"`{python} -m pip install 'pydantic>=2.8' 'psutil>=6' 'numpy>=1'`" in said_by(python, code)[0]
    assert said_by(str(thin(tmp_path / "whole", OURS)), code, "mlx-lm") == ("", "it printed nothing")


def test_what_is_too_old_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lend.want() == ""
    monkeypatch.setattr(lend, "version", lambda name: "1.10.2" if name == "pydantic" else "99.0rc1")
    assert lend.want().startswith("it lacks pydantic>=2.8;")


def test_the_worker_s_own_packages_are_as_old_as_swapbench_takes_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in ("pydantic", "psutil"):
        (asked,) = (one for one in project["dependencies"] if one.startswith(f"{name}>="))
        least = tuple(map(int, asked.partition(">=")[2].split(".")))
        assert least[: len(lend.LEAST[name])] == lend.LEAST[name]
    assert psutil.version_info >= lend.LEAST["psutil"]


def test_an_older_python_is_told_as_such(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'unknown option -P' >&2\necho 'Try `python -h` for more.' >&2\nexit 2\n")
    old.chmod(0o755)
    assert said_by(str(old), "") == ("", "it takes Python 3.11 or newer")


def test_this_interpreter_answers_as_any_other() -> None:
    assert said_by(sys.executable, "print(sys.argv[1])", "so") == ("so", "it printed nothing")
    with pytest.raises(UsageError, match="name a Python interpreter"):
        said_by("/nowhere/python", "")

"""Interpreters asked, ends in words, paths in commands."""

import io
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pydantic
import pytest

import swapbench
from swapbench.base import lend
from swapbench.base.errors import UsageError
from swapbench.base.process import how_it_ended, quoted, said_by
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


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
    ],
)
def test_a_process_ends_by_itself_or_by_a_signal(ending: str, said: str) -> None:
    assert how_it_ended(subprocess.run([sys.executable, "-c", ending], check=False).returncode) == said


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="macOS has no real-time signals")
def test_a_signal_that_has_no_name_is_told_by_its_number() -> None:
    number = int(getattr(signal, "SIGRTMIN", 0)) + 5
    assert how_it_ended(-number) == f"was killed by signal {number}"


@pytest.mark.parametrize(
    ("path", "encoding", "shown"),
    [
        ("results/quick", "ascii", "results/quick"),
        ("else where", "ascii", "'else where'"),
        ("-x/quick", "utf-8", "./-x/quick"),
        ("é ü", "utf-8", "'é ü'"),
        ("é ü", "ascii", r"$'\303\251 \303\274'"),
        ("two\nlines", "utf-8", r"$'two\012lines'"),
        ("-it's\n\\", "utf-8", r"$'./-it\047s\012\134'"),
    ],
)
def test_a_path_is_named_so_that_a_shell_finds_it(
    path: str, encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert quoted(path) == shown
    said = subprocess.run(
        ["bash", "-c", f"printf %s {quoted(path)}"], capture_output=True, check=True
    ).stdout.decode()
    assert Path(said) == Path(path)

"""Commands from a folder with files that are called as modules are: nothing of ours imports them."""

import ast
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from swapbench.base.process import LENT, OWN_CODE
from swapbench.spec.preset import read_preset, shipped
from tests.e2e.conftest import UNPROVEN
from tests.environment.circumstances import run_command, with_models

PACKAGE = Path(__file__).parents[2] / "swapbench"
NAMES = (
    "json",
    "typing",
    "numpy",
    "random",
    "psutil",
    "pydantic",
    "typer",
    "mlx",
    "transformers",
    "sitecustomize",
)
COMMANDS = (
    ["list"],
    ["doctor", "--json"],
    ["models", "synth", "smollm2-135m", "--mini"],
    ["run", "quick", "--rounds", "1", "--quiet", *UNPROVEN],
    ["run", "quick", "--rounds", "1", "--quiet", *UNPROVEN, "--target", "mlx_lm"],
    ["run", "exp012-sharded", "--models", "mini", "--rounds", "1", "--warmup", "0", "--quiet", *UNPROVEN],
)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which every import goes wrong that looks there."""
    monkeypatch.delenv("PYTHONPATH")  # the tests' own
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text('raise SystemExit(f"{__file__} was imported")\n')
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.slow
def test_files_of_the_working_directory_are_not_imported(
    words: list[str], trap: Path, model_cache: Path
) -> None:
    # Made anew for the one that makes, there already for the others.
    cache = trap / "cache" if "synth" in words else model_cache
    done = run_command(words, trap, with_models(cache), prefix=["env"])  # started there, not forked
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was imported" not in done.stdout + done.stderr
    for log in trap.glob("results/*/*/*.log"):
        assert "was imported" not in log.read_text()


def test_the_installed_command_does_not_even_begin_there(trap: Path) -> None:
    for early in ("contextlib", "warnings", "types", "functools"):
        (trap / f"{early}.py").write_text('raise SystemExit(f"{__file__} was imported")\n')
    command = Path(sysconfig.get_path("scripts")) / "swapbench"
    done = subprocess.run([command, "list"], cwd=trap, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _commands() -> list[tuple[str, ast.List | ast.Tuple]]:
    """Every list in the package that holds a -m, a -c or a module of ours, for some interpreter."""
    found: list[tuple[str, ast.List | ast.Tuple]] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.List | ast.Tuple):
                words = {element.value for element in node.elts if isinstance(element, ast.Constant)}
                ours = any(str(word).startswith("swapbench.") for word in words) and len(node.elts) > 2
                if (words & {"-m", "-c"} or ours) and not words & {"bash", "sh", "git"}:
                    found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", node))
    return found


def test_every_interpreter_that_is_started_is_told_to_leave_the_working_directory_alone() -> None:
    commands = _commands()
    assert len(commands) >= 10
    for where, command in commands:
        starred = [
            e.value.id for e in command.elts if isinstance(e, ast.Starred) and isinstance(e.value, ast.Name)
        ]
        isolated = any(isinstance(e, ast.Constant) and e.value == "-I" for e in command.elts)
        assert isolated or {"OWN_CODE", "LENT"} & set(starred), where
    assert LENT[: len(OWN_CODE)] == OWN_CODE == ("-P",)


def test_so_are_those_that_presets_start() -> None:
    for name, path in shipped().items():
        start = read_preset(path).start
        if start is not None and start.command[0] == "{python}":
            assert start.command[1] == "-P", name


def test_the_interpreter_itself_does_not_hold_that_back() -> None:
    """Else the tests above would be of nothing."""
    assert not sys.flags.safe_path
    assert "PYTHONSAFEPATH" not in os.environ

"""`python -P lend.py MODULE [ARGUMENT...]`: a module of swapbench, under an interpreter that may have none.

Who has no swapbench is lent this one, and nothing else of its environment: what is measured is what the
interpreter itself has installed. An own one goes first. Run as a file, so it imports nothing but Python's.
"""

import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

WORKER = ("pydantic", "psutil", "numpy")
# The oldest that do; mlx-lm for the reference engine, mlx for ranks, whom older launchers start otherwise.
LEAST = {"pydantic": (2, 8), "psutil": (6,), "numpy": (1,), "mlx-lm": (0, 30), "mlx": (0, 32)}


class Lent:
    """Finds swapbench alone."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of any finder on sys.meta_path; what is inside the package is then found by its own path."""
        if name != "swapbench":
            return None
        return PathFinder.find_spec(name, [str(Path(__file__).parents[2])], target)


def want(*more: str) -> str:
    """What the worker, and `more`, lack here, and the command that installs it; empty where nothing."""
    lacking = [name for name in (*WORKER, *more) if _release(name) < LEAST[name]]
    if not lacking:
        return ""
    here = shlex.quote(sys.executable)
    command = f"{here} -m pip install" if find_spec("pip") else f"uv pip install --python {here}"
    wanted = [f"{name}>={'.'.join(map(str, LEAST[name]))}" for name in lacking]
    return f"it lacks {' and '.join(wanted)}; `{command} {shlex.join(wanted)}` installs that"


def _release(name: str) -> tuple[int, ...]:
    """The first two numbers of a version; none where the package is not there."""
    try:
        return tuple(map(int, re.findall(r"\d+", version(name))[:2]))
    except PackageNotFoundError:
        return ()


own = find_spec("swapbench")
# A mere folder of that name, as an uninstalled one leaves, is no package.
if own is None or own.origin is None:
    sys.meta_path.insert(0, Lent)

if __name__ == "__main__":
    if said := want():
        sys.exit(said)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

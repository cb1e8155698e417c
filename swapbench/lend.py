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

# The worker's own; MLX, mlx-lm and the like are the target's business.
NEEDED = {"pydantic": (2, 8), "psutil": (6,), "numpy": (1,)}


class Lent:
    """Finds swapbench alone, after everybody else has been asked."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of any finder on sys.meta_path; what is inside the package is then found by its own path."""
        if name != "swapbench":
            return None
        return PathFinder.find_spec(name, [str(Path(__file__).parent.parent)], target)


def want() -> str:
    """What the worker lacks here, and the command that installs it; empty where nothing."""
    lacking = [name for name, least in NEEDED.items() if _release(name) < least]
    if not lacking:
        return ""
    by_pip = bool(find_spec("pip"))
    command = [sys.executable, "-m", "pip", "install"] if by_pip else ["uv", "pip", "install", "--python"]
    wanted = [f"{name}>={'.'.join(map(str, NEEDED[name]))}" for name in lacking]
    whole = shlex.join([*command, *([] if by_pip else [sys.executable]), *wanted])
    return f"it lacks {' and '.join(wanted)}; `{whole}` installs that"


def _release(name: str) -> tuple[int, ...]:
    """The first two numbers of a version; none where the package is not there."""
    try:
        return tuple(map(int, re.findall(r"\d+", version(name))[:2]))
    except PackageNotFoundError:
        return ()


sys.meta_path.append(Lent)

if __name__ == "__main__":
    if said := want():
        sys.exit(said)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

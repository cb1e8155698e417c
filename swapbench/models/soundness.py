"""Whether a checkpoint has all that mlx-lm needs, for a process that has no mlx-lm."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

from swapbench.interpreter import OWN_CODE
from swapbench.models.checkpoint import damage, looks_whole
from swapbench.models.remembered import remembered, state_of

_QUESTION: Final = "fault"
_PATIENCE_S: Final = 120


def fault(folder: Path) -> str:
    """What a checkpoint lacks for mlx-lm to load it, as a clause; empty when nothing.

    Of a folder that contradicts itself mlx-lm is asked, in a process of its own, once for each state of its
    files: an index or a numbering may be wrong where everything is there.
    """
    found = damage(folder)
    if found or looks_whole(folder):
        return found
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = [version("mlx"), version("mlx-lm"), version("transformers"), *state_of(files)]
    try:
        return str(remembered(_QUESTION, folder, state, lambda: ask(folder)))
    except UnansweredError as error:
        return f"mlx-lm could not be asked about it: {error}"


class UnansweredError(Exception):
    """There is no answer, which is none to remember."""


def ask(folder: Path, *options: str) -> str:
    """What `swapbench.worker.checking` says in a process of its own.

    Raises:
        UnansweredError: nothing, in time.
    """
    try:
        asked = subprocess.run(
            [sys.executable, *OWN_CODE, "-m", "swapbench.worker.checking", *options, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        return str(json.loads(asked.stdout)["lacks"])
    except subprocess.TimeoutExpired:
        raise UnansweredError(f"no answer within {_PATIENCE_S} s") from None
    except (ValueError, KeyError, TypeError):
        last = asked.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise UnansweredError(f"exit code {asked.returncode}, {last[0]:.200}") from None

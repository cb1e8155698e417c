"""Whether a checkpoint has all that mlx-lm needs, for a process that has no mlx-lm."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from swapbench.interpreter import OWN_CODE
from swapbench.models.checkpoint import damage, looks_whole
from swapbench.models.remembered import keep, recall, remembered, state_of

_QUESTION: Final = "fault"
_PATIENCE_S: Final = 120


def fault(folder: Path) -> str:
    """What a checkpoint lacks for mlx-lm to load it, as a clause; empty when nothing.

    Of a folder that contradicts itself mlx-lm is asked: an index or a numbering may be wrong where everything
    is there. One that doesn't is believed until mlx-lm has been asked about it: lists come at once.
    """
    if damaged := damage(folder):
        return damaged
    state = _state(folder)
    known = recall(_QUESTION, folder, state)
    if known is None:
        known = "" if looks_whole(folder) else _said_of(folder, state)
    return str(known)


def fault_for_certain(folder: Path) -> str:
    """The same, of mlx-lm itself, in a process of its own, once for each state of the folder's files."""
    return damage(folder) or _said_of(folder, _state(folder))


def _said_of(folder: Path, state: list[Any]) -> str:
    try:
        return str(remembered(_QUESTION, folder, state, lambda: ask(folder)))
    except UnansweredError as error:
        return f"mlx-lm could not be asked about it: {error}"


def keep_fault(folder: Path, found: str) -> None:
    """Remember what a process with mlx-lm has found, so that whoever has none says the same."""
    keep(_QUESTION, folder, _state(folder), found)


def _state(folder: Path) -> list[Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [version("mlx"), version("mlx-lm"), version("transformers"), *state_of(files)]


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

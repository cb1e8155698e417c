"""Whether a checkpoint has all that mlx-lm needs, for a process that has no mlx-lm."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from swapbench.interpreter import LENT
from swapbench.models.checkpoint import damage, looks_whole
from swapbench.models.remembered import keep, recall, remembered, state_of

_QUESTION: Final = "fault"
_PATIENCE_S: Final = 120


@dataclass(frozen=True)
class Fault:
    """What is wrong with a checkpoint, as a clause, and what mends it; empty where whole files would.

    `incomplete` is what no mlx-lm could load.
    """

    what: str
    remedy: str = ""
    incomplete: bool = True


def fault(folder: Path) -> str:
    """What a checkpoint lacks for any mlx-lm to load it, as a clause; empty when nothing.

    Of a folder that contradicts itself mlx-lm is asked: an index or a numbering may be wrong where everything
    is there. One that doesn't is believed until mlx-lm has been asked about it: lists come at once.
    """
    if damaged := damage(folder):
        return damaged
    state = _state(folder)
    known = recall(_QUESTION, folder, state)
    if known is None and looks_whole(folder):
        return ""
    found = _read(known) if known is not None else _said_of(folder, state)
    return found.what if found and found.incomplete else ""


def examined(folder: Path) -> Fault | None:
    """Why this mlx-lm can't load a checkpoint, of itself, in a process of its own, once for each state of the
    folder's files; None where it can."""
    damaged = damage(folder)
    return Fault(damaged) if damaged else _said_of(folder, _state(folder))


def keep_fault(folder: Path, found: Fault | None) -> None:
    """Remember what a process with mlx-lm has found, so that whoever has none says the same."""
    keep(_QUESTION, folder, _state(folder), written(found))


def _said_of(folder: Path, state: list[Any]) -> Fault | None:
    try:
        return _read(remembered(_QUESTION, folder, state, lambda: ask(folder)))
    except UnansweredError as error:
        return Fault(f"mlx-lm could not be asked about it: {error}", "try again")


def written(found: Fault | None) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(found) if found else {}


def _read(answer: dict[str, Any]) -> Fault | None:
    return Fault(**answer) if answer else None


def _state(folder: Path) -> list[Any]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [version("mlx"), version("mlx-lm"), version("transformers"), *state_of(files)]


class UnansweredError(Exception):
    """There is no answer, which is none to remember."""


def ask(folder: Path, *options: str) -> Any:
    """What `swapbench.worker.checking` says in a process of its own.

    Raises:
        UnansweredError: nothing, in time.
    """
    try:
        asked = subprocess.run(
            [sys.executable, *LENT, "swapbench.worker.checking", *options, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        return json.loads(asked.stdout)["answer"]
    except subprocess.TimeoutExpired:
        raise UnansweredError(f"no answer within {_PATIENCE_S} s") from None
    except (ValueError, KeyError, TypeError):
        last = asked.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise UnansweredError(f"exit code {asked.returncode}, {last[0]:.200}") from None

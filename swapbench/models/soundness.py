"""Whether a checkpoint has all that mlx-lm needs, for a process that has no mlx-lm."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from swapbench.base.process import LENT
from swapbench.models.checkpoint import WITHOUT_MARK, damage, looks_whole
from swapbench.models.remembered import keep, recall, remembered, state_of
from swapbench.models.store import is_own
from swapbench.spec.experiment import Source

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

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"

    def advised(self, source: Source, folder: Path, reference: str = "") -> "Fault":
        """With how to get whole files, where those would mend it."""
        if self.remedy:
            return self
        remedy = "put a whole checkpoint there"
        if source is Source.HUB:
            remedy = f"`swapbench models fetch {reference}` completes it"
        elif is_own(folder, source):
            remove = f"`swapbench models rm {folder.name} --source {source}`"
            remedy = f"remove it by {remove}, and make it again by `swapbench models synth`"
        return replace(self, remedy=remedy)


def damaged(folder: Path) -> Fault | None:
    """What keeps any loader from reading a checkpoint's files; None where nothing does."""
    what = damage(folder)
    if not what:
        return None
    if what.startswith("config.json") and (folder / "config.json").is_file():
        return Fault(what, "or get it again" if what.endswith(WITHOUT_MARK) else "get it again")
    return Fault(what)


def fault(folder: Path) -> Fault | None:
    """What a checkpoint lacks for any mlx-lm to load it; None when nothing.

    Of a folder that contradicts itself mlx-lm is asked: an index or a numbering may be wrong where everything
    is there. One that doesn't is believed until mlx-lm has been asked about it: lists come at once.
    """
    if found := damaged(folder):
        return found
    state = _state(folder)
    known = recall(_QUESTION, folder, state)
    if known is None and looks_whole(folder):
        return None
    found = read(known) if known is not None else _said_of(folder, state)
    return found if found and found.incomplete else None


def examined(folder: Path, before: Callable[[], None] = lambda: None) -> Fault | None:
    """Why this mlx-lm can't load a checkpoint, of itself, in a process of its own, once for each state of the
    folder's files; None where it can. `before` is called where it takes that process."""
    return damaged(folder) or _said_of(folder, _state(folder), before)


def keep_fault(folder: Path, found: Fault | None) -> None:
    """Remember what a process with mlx-lm has found, so that whoever has none says the same."""
    keep(_QUESTION, folder, _state(folder), written(found))


def _said_of(folder: Path, state: list[Any], before: Callable[[], None] = lambda: None) -> Fault | None:
    def find() -> Any:
        before()
        return ask(folder)

    try:
        return read(remembered(_QUESTION, folder, state, find))
    except UnansweredError as error:
        return Fault(f"mlx-lm could not be asked about it: {error}", "try again")


def written(found: Fault | None) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(found) if found else {}


def read(answer: dict[str, Any]) -> Fault | None:
    """What `written` wrote."""
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

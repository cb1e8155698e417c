"""Answers that take long to find and hang on files alone: kept in the cache folder, with the files' state."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from swapbench.models.store import cache_root


def state_of(paths: Iterable[Path]) -> list[list[Any]]:
    """What tells files from others of the same name, and from themselves once they have changed.

    Raises:
        OSError: one is not there.
    """
    stats = [(path, path.stat()) for path in paths]
    return [[path.name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns] for path, s in stats]


def recall(question: str, path: Path, state: Any) -> Any:
    """The answer that was kept of a path in this very state; None where there is none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(_place(question, path).read_text(encoding="utf-8"))
        if kept["state"] == state:
            return kept["answer"]
    return None


def remembered(question: str, path: Path, state: Any, find: Callable[[], Any]) -> Any:
    """The answer of JSON's types that was kept of a path in this state, or a new one, which is kept.

    Where the cache folder can't be written, it is found anew each time.
    """
    answer = recall(question, path, state)
    if answer is None:
        answer = find()
        keep(question, path, state, answer)
    return answer


def keep(question: str, path: Path, state: Any, answer: Any) -> None:
    """Keep an answer, if the cache folder can be written."""
    place = _place(question, path)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"path": str(path), "state": state, "answer": answer}), encoding="utf-8")
        part.replace(place)


def _place(question: str, path: Path) -> Path:
    key = hashlib.blake2b(str(path.resolve()).encode(), digest_size=16).hexdigest()
    return cache_root() / "remembered" / question / f"{key}.json"

"""swapbench's cache folder, and answers kept in it that take long to find and hang on files alone."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from swapbench.base.errors import UsageError
from swapbench.base.files import expanded
from swapbench.instruments.page_cache import weight_files

_CACHES: Final = "Library/Caches" if sys.platform == "darwin" else ".cache"


def cache_root() -> Path:
    """swapbench's cache folder: SWAPBENCH_CACHE, or the platform's place for caches.

    Raises:
        UsageError: that is in a home folder, and there is none.
        UnicodeEncodeError: its name is no text.
    """
    chosen = os.environ.get("SWAPBENCH_CACHE")
    root = expanded(chosen).absolute() if chosen else _users_place()
    str(root).encode()  # what lies there is told to children as text
    return root


def _users_place() -> Path:
    with suppress(RuntimeError):
        chosen = os.environ.get("XDG_CACHE_HOME", "").strip()
        place = Path(chosen) if chosen else Path.home() / _CACHES
        if place.is_absolute():
            return place / "swapbench"
    raise UsageError(
        "this user has no home folder, where swapbench would keep models: set HOME, or SWAPBENCH_CACHE to a "
        "folder"
    )


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


_QUESTION: Final = "sha256"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def checkpoint_digest(folder: Path) -> str:
    """A digest of config.json and of every byte of the weight files, in seconds a file at its first time.

    Raises:
        OSError: a file can't be read.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        digest.update(f"{file.name} {_sha256(file)}\n".encode())
    return digest.hexdigest()


def undigested(folder: Path) -> int:
    """Bytes that `checkpoint_digest` would have to read now.

    Raises:
        OSError: a file can't be looked at.
    """
    return sum(
        file.stat().st_size
        for file in weight_files(folder)
        if not _name_of_blob(file) and recall(_QUESTION, file, state_of([file])) is None
    )


def _sha256(file: Path) -> str:
    return _name_of_blob(file) or str(remembered(_QUESTION, file, state_of([file]), lambda: _read(file)))


def _name_of_blob(file: Path) -> str:
    """The hash by which the Hugging Face cache names the file that a snapshot's link leads to."""
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else ""


def _read(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()

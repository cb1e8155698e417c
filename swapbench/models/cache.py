"""swapbench's cache folder, with answers that take long to find and hang on files alone; room on a disk."""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from swapbench.base.errors import ModelError, UsageError
from swapbench.base.files import expanded
from swapbench.instruments.page_cache import weight_files

# Bytes done so far, and bytes in all.
OnBytes = Callable[[int, int], None]

_CACHES: Final = "Library/Caches" if sys.platform == "darwin" else ".cache"
_QUESTION: Final = "sha256"
SHA256: Final = re.compile(r"[0-9a-f]{64}")


def cache_root() -> Path:
    """swapbench's cache folder: SWAPBENCH_CACHE, or the platform's place for caches.

    Raises:
        UsageError: that is in a home folder, and there is none.
        UnicodeEncodeError: its name is no text.
    """
    if chosen := os.environ.get("SWAPBENCH_CACHE"):
        root = expanded(chosen).absolute()
    else:
        place = os.environ.get("XDG_CACHE_HOME", "").strip()
        try:
            root = (Path(place) if place else Path.home() / _CACHES) / "swapbench"
        except RuntimeError:
            root = Path()
        if not root.is_absolute():
            raise UsageError(
                "this user has no home folder, where swapbench would keep models: set HOME, or "
                "SWAPBENCH_CACHE to a folder"
            )
    str(root).encode()  # what lies there is told to children as text
    return root


def require_room(folder: Path, needed_bytes: int, what: str, remedy: str, spare_bytes: int = 0) -> None:
    """Refuse to write what a disk has no room for; `what` takes the bytes, and `remedy` says what to do."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes + spare_bytes:
        raise ModelError(
            f"{what} {needed_bytes / 1e9:.2f} GB and {there} has {free_bytes / 1e9:.2f} GB free; {remedy}"
        )


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def state_of(paths: Iterable[Path]) -> list[list[Any]]:
    """What tells files, which have to be there, from others of their names, and from what they were."""
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
    """The answer of JSON's types that was kept of a path in this state, or a new one, which is kept."""
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


def checkpoint_digest(folder: Path) -> str:
    """A digest of config.json and of every byte of the weight files, in seconds a file at its first time."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        name = _name_of_blob(file) or remembered(_QUESTION, file, state_of([file]), partial(_read, file))
        digest.update(f"{file.name} {name}\n".encode())
    return digest.hexdigest()


def undigested(folder: Path) -> int:
    """Bytes that `checkpoint_digest` would have to read now."""
    return sum(
        file.stat().st_size
        for file in weight_files(folder)
        if not _name_of_blob(file) and recall(_QUESTION, file, state_of([file])) is None
    )


def _name_of_blob(file: Path) -> str:
    """The hash by which the Hugging Face cache names the file that a snapshot's link leads to."""
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else ""


def _read(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()

"""Where the checkpoints that swapbench makes lie: <cache>/synthetic/<name> and <cache>/mini/<name>."""

import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from swapbench.base.errors import ModelError, UsageError, did_you_mean
from swapbench.base.files import expanded
from swapbench.models.order import RECIPE_VERSION, Order
from swapbench.spec.experiment import Source

MADE_SOURCES: Final = (Source.SYNTHETIC, Source.MINI)

_CACHES: Final = "Library/Caches" if sys.platform == "darwin" else ".cache"
_MANIFEST: Final = "swapbench.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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


def folder_of(name: str, source: Source) -> Path:
    """Where the checkpoint called `name` lies, or would.

    Raises:
        ModelError: the name could lead out of the cache folder.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f'"{name}" can\'t name a model: use letters, digits, dots, dashes and underscores')
    return cache_root() / source / name


def made(source: Source) -> list[str]:
    """The names of the checkpoints of one source that there are, whatever their recipe."""
    return sorted(path.parent.name for path in (cache_root() / source).glob(f"[!.]*/{_MANIFEST}"))


def state(folder: Path, order: Order | None) -> str:
    """Empty for a checkpoint as `order` would make it, else what is wrong: "missing" or "stale".

    Without an order (a model of which only the checkpoint is known) any of this recipe is right.
    """
    manifest = _manifest(folder)
    if manifest is None:
        return "missing"
    current = manifest.get("recipe_version") == RECIPE_VERSION
    if order is not None:
        current = current and manifest.get("order_sha256") == order.digest()
    return "" if current else "stale"


def write_manifest(folder: Path, order: Order) -> None:
    """Mark a checkpoint as complete, made by this recipe for this order."""
    content = {
        "recipe_version": RECIPE_VERSION,
        "order_sha256": order.digest(),
        "name": order.name,
        "source": order.source,
    }
    with (folder / _MANIFEST).open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def made_as(folder: Path) -> Source | None:
    """What swapbench made a checkpoint as, wherever it has been moved or copied; None of anybody else's.

    Raises:
        ModelError: swapbench made it, and it doesn't say as what.
    """
    if not (folder / _MANIFEST).exists():
        return None
    stated = (_manifest(folder) or {}).get("source")
    if stated in MADE_SOURCES:
        return Source(stated)
    raise ModelError(
        f"{folder / _MANIFEST}: doesn't say whether the model is {' or '.join(MADE_SOURCES)}: "
        "it is damaged, or another version of swapbench made it; make the model again"
    )


def is_own(folder: Path, source: Source) -> bool:
    """Whether swapbench made a checkpoint, of this source, where it lies."""
    return source in MADE_SOURCES and folder.parent == cache_root() / source


def part_of(folder: Path) -> Path:
    """The temporary folder beside `folder` in which it is made, or taken apart."""
    return folder.with_name(f".{folder.name}.part")


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Be the only one who makes or removes `folder`, and clear away what an interrupted one left.

    Yields the lock's file descriptor: a child that inherits it holds the lock as long as it lives.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        discard(part_of(folder))
        discard(_old_of(folder))
        yield lock.fileno()


def put(part: Path, folder: Path) -> None:
    """Give a finished checkpoint its name, in place of the one that may be there. Needs the lock."""
    retire(folder)
    part.rename(folder)
    sync_folder(folder.parent)


def remove(name: str, source: Source) -> int:
    """Remove a checkpoint; returns the bytes that it took.

    Raises:
        ModelError: there is none of this name.
    """
    folder = folder_of(name, source)
    if folder.is_symlink() or not folder.is_dir():
        raise ModelError(f'no {source} checkpoint "{name}"; {did_you_mean(name, made(source))}')
    with locked(folder):
        size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        retire(folder)
    return size_bytes


def retire(folder: Path) -> None:
    """Remove a checkpoint so that no half of it is ever found under its name. Needs the lock."""
    if folder.exists():
        folder.rename(_old_of(folder))
        discard(_old_of(folder))


def _old_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def discard(folder: Path) -> None:
    """Delete a folder that may not be there; a link in its place is deleted, not followed."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None

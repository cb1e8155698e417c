"""The checkpoints that swapbench makes, <cache>/synthetic/<name> and <cache>/mini/<name>, each by a child."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from swapbench.base.errors import ModelError, did_you_mean
from swapbench.base.process import LENT
from swapbench.machine.allowance import want_of_files
from swapbench.models.cache import cache_root
from swapbench.models.stand_ins.order import RECIPE_VERSION, Order, Progress, Request
from swapbench.models.validation import Fault
from swapbench.spec.experiment import Source

MADE_SOURCES: Final = (Source.SYNTHETIC, Source.MINI)

_MANIFEST: Final = "swapbench.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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


def advised(found: Fault, source: Source, folder: Path, reference: str = "") -> Fault:
    """What is wrong with a checkpoint, with how to get whole files where those would mend it."""
    if found.remedy:
        return found
    remedy = "put a whole checkpoint there"
    if source is Source.HUB:
        remedy = f"`swapbench models fetch {reference}` completes it"
    elif is_own(folder, source):
        remove = f"`swapbench models rm {folder.name} --source {source}`"
        remedy = f"remove it by {remove}, and make it again by `swapbench models synth`"
    return replace(found, remedy=remedy)


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


OnProgress = Callable[[Progress], None]


def make(order: Order, on_progress: OnProgress) -> Path:
    """The folder of the checkpoint that `order` describes, made where it is missing or of an older recipe.

    Until it is complete nothing lies under its name. Two processes that want the same one wait for each
    other.

    Raises:
        ModelError: it can't be made; the message says why.
    """
    folder = folder_of(order.name, order.source)
    if not state(folder, order):
        return folder
    if why := want_of_files():
        raise ModelError(why)
    try:
        with locked(folder) as lock:
            if state(folder, order):
                _make(order, folder, lock, on_progress)
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder.parent}: {error.strerror}; "
            "set SWAPBENCH_CACHE to a folder that can be written"
        ) from None
    return folder


def _make(order: Order, folder: Path, lock: int, on_progress: OnProgress) -> None:
    retire(folder)  # of an older recipe: of no use any more, and its room may be needed
    part = part_of(folder)
    part.mkdir()
    try:
        for progress in _child(Request(order=order, folder=part), lock):
            if progress.event == "refused":
                raise ModelError(progress.reason)
            on_progress(progress)
        write_manifest(part, order)
        put(part, folder)
    finally:
        discard(part)


def _child(request: Request, lock: int) -> Iterator[Progress]:
    """What the child says, to its end; it is killed when nobody wants to hear more."""
    with tempfile.TemporaryFile(dir=request.folder.parent) as said:
        child = subprocess.Popen(
            [sys.executable, *LENT, "swapbench.models.stand_ins.synthesize"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for the parent, which then ends the child
        )
        try:
            yield from _follow(child, request, said)
        finally:
            child.kill()
            child.wait()


def _follow(child: "subprocess.Popen[bytes]", request: Request, said: IO[bytes]) -> Iterator[Progress]:
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError), child.stdin as stdin:
        stdin.write(request.model_dump_json().encode())
    for line in child.stdout:
        try:
            progress = Progress.model_validate_json(line)
        except ValidationError:
            break
        yield progress
        if progress.event in ("done", "refused"):
            return
    said.seek(0)
    last = (said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise ModelError(
        f"{request.order.name}: the child that makes it died (exit code {child.wait()}): {last:.200}"
    )

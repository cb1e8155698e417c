"""The checkpoints that swapbench makes, <cache>/synthetic/<name> and <cache>/mini/<name>, each by a child."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from swapbench.base.errors import ModelError, did_you_mean
from swapbench.base.files import write_atomically
from swapbench.base.process import LENT
from swapbench.machine.allowance import want_of_files
from swapbench.models.cache import OnBytes, cache_root, sync
from swapbench.models.checkpoint import Fault, read_object
from swapbench.models.stand_ins.order import RECIPE_VERSION, Order
from swapbench.spec.experiment import Source

MADE_SOURCES: Final = (Source.SYNTHETIC, Source.MINI)

_MANIFEST: Final = "swapbench.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder_of(name: str, source: Source) -> Path:
    """Where the checkpoint called `name` lies, or would; ModelError if the name could lead elsewhere."""
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
    manifest = read_object(folder / _MANIFEST)
    if not manifest:
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
    write_atomically(folder / _MANIFEST, json.dumps(content, indent=2) + "\n")


def made_as(folder: Path) -> Source | None:
    """What swapbench made a checkpoint as, wherever it has been moved or copied; None of anybody else's.

    Raises:
        ModelError: swapbench made it, and it doesn't say as what.
    """
    if not (folder / _MANIFEST).exists():
        return None
    stated = read_object(folder / _MANIFEST).get("source")
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
    _retire(folder)
    part.rename(folder)
    sync(folder.parent)


def remove(name: str, source: Source) -> int:
    """Remove a checkpoint; returns the bytes that it took. ModelError if there is none of this name."""
    folder = folder_of(name, source)
    if folder.is_symlink() or not folder.is_dir():
        raise ModelError(f'no {source} checkpoint "{name}"; {did_you_mean(name, made(source))}')
    with locked(folder):
        size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        _retire(folder)
    return size_bytes


def _retire(folder: Path) -> None:
    """Remove a checkpoint so that no half of it is ever found under its name. Needs the lock."""
    if folder.exists():
        discard(folder.rename(_old_of(folder)))


def _old_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def discard(path: Path) -> None:
    """Delete a folder, or a file, that may not be there; a link in its place is deleted, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make(order: Order, on_bytes: OnBytes) -> Path:
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
                _retire(folder)  # of an older recipe: of no use any more, and its room may be needed
                _make(order, folder, lock, on_bytes)
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder.parent}: {error.strerror}; "
            "set SWAPBENCH_CACHE to a folder that can be written"
        ) from None
    return folder


def _make(order: Order, folder: Path, lock: int, on_bytes: OnBytes) -> None:
    part = part_of(folder)
    part.mkdir()
    try:
        with tempfile.TemporaryFile(dir=folder.parent) as log:
            child = subprocess.Popen(
                [sys.executable, *LENT, "swapbench.models.stand_ins.synthesize", str(part)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the parent, which then ends the child
            )
            try:
                _follow(child, order, log, on_bytes)
            finally:
                child.kill()
                child.wait()
        write_manifest(part, order)
        put(part, folder)
    finally:
        discard(part)


def _follow(child: "subprocess.Popen[bytes]", order: Order, log: IO[bytes], on_bytes: OnBytes) -> None:
    """Hear the child to its end."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError), child.stdin as stdin:
        stdin.write(order.model_dump_json().encode())
    for line in child.stdout:
        try:
            said = json.loads(line)
        except ValueError:  # half a line, of one that died
            break
        if said is None:
            return
        if isinstance(said, str):
            raise ModelError(said)
        on_bytes(*said)
    log.seek(0)
    last = (log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    raise ModelError(f"{order.name}: the child that makes it died (exit code {child.wait()}): {last:.200}")

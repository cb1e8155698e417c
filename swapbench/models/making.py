"""Having a child make a checkpoint, and following it: the parent's side of `swapbench.models.synthesize`."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from swapbench.base.errors import ModelError
from swapbench.base.process import LENT
from swapbench.machine.allowance import want_of_files
from swapbench.models import store
from swapbench.models.order import Order, Progress, Request

OnProgress = Callable[[Progress], None]


def make(order: Order, on_progress: OnProgress) -> Path:
    """The folder of the checkpoint that `order` describes, made where it is missing or of an older recipe.

    Until it is complete nothing lies under its name. Two processes that want the same one wait for each
    other.

    Raises:
        ModelError: it can't be made; the message says why.
    """
    folder = store.folder_of(order.name, order.source)
    if not store.state(folder, order):
        return folder
    if why := want_of_files():
        raise ModelError(why)
    try:
        with store.locked(folder) as lock:
            if store.state(folder, order):
                _make(order, folder, lock, on_progress)
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder.parent}: {error.strerror}; "
            "set SWAPBENCH_CACHE to a folder that can be written"
        ) from None
    return folder


def _make(order: Order, folder: Path, lock: int, on_progress: OnProgress) -> None:
    store.retire(folder)  # of an older recipe: of no use any more, and its room may be needed
    part = store.part_of(folder)
    part.mkdir()
    try:
        for progress in _child(Request(order=order, folder=part), lock):
            if progress.event == "refused":
                raise ModelError(progress.reason)
            on_progress(progress)
        store.write_manifest(part, order)
        store.put(part, folder)
    finally:
        store.discard(part)


def _child(request: Request, lock: int) -> Iterator[Progress]:
    """What the child says, to its end; it is killed when nobody wants to hear more."""
    with tempfile.TemporaryFile(dir=request.folder.parent) as said:
        child = subprocess.Popen(
            [sys.executable, *LENT, "swapbench.models.synthesize"],
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

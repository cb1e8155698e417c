"""The child that makes checkpoints: `python -m swapbench.models.stand_ins.synthesize`.

One request as JSON on stdin; progress as JSON lines on stdout. mlx and mlx_lm are imported here, so that the
process that asked stays without them.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swapbench.base.errors import ModelError
from swapbench.models.stand_ins import shards
from swapbench.models.stand_ins.order import Order, Progress, Request
from swapbench.models.stand_ins.tensors import tensors
from swapbench.models.stand_ins.tokenizer import write_tokenizer

# What a disk should have left when the checkpoint is there.
_SPARE_BYTES: Final = 512 << 20

_TELL_EVERY_BYTES: Final = 32 << 20


Tell = Callable[[Progress], None]


def main() -> None:
    """Carry out one request."""
    # Whatever a library prints goes to stderr: stdout's lines are for progress alone.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(progress: Progress) -> None:
        lines.write(progress.model_dump_json() + "\n")
        lines.flush()

    request = Request.model_validate_json(sys.stdin.buffer.read())
    try:
        make(request.order, request.folder, tell)
    except ModelError as error:
        tell(Progress(event="refused", reason=str(error)))
    except BrokenPipeError:
        # Whoever asked is gone, and will not clear away what was begun.
        shutil.rmtree(request.folder, ignore_errors=True)
    except OSError as error:
        tell(Progress(event="refused", reason=f"{request.folder.parent}: {error.strerror}"))


def make(order: Order, folder: Path, tell: Tell) -> None:
    """Write the checkpoint into `folder`, which is there and empty.

    Raises:
        ModelError: the configuration makes no model, or the disk is too small for it.
    """
    planned = tensors(order)
    files = shards.plan(planned)
    total_bytes = sum(shard.nbytes for shard in files)
    _check_disk(order.name, folder, total_bytes)
    tell(Progress(event="planned", total_bytes=total_bytes, tensors=len(planned)))
    (folder / "config.json").write_text(
        json.dumps(order.config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    write_tokenizer(folder, order.vocabulary)
    shards.write(files, folder, order.digest(), _Teller(total_bytes, tell))
    _sync(folder)
    tell(Progress(event="done", done_bytes=total_bytes, total_bytes=total_bytes, tensors=len(planned)))


class _Teller:
    """Counts bytes, and says how far it is every now and then."""

    def __init__(self, total_bytes: int, tell: Tell) -> None:
        self._total_bytes = total_bytes
        self._tell = tell
        self._done_bytes = 0
        self._told_bytes = 0

    def __call__(self, written_bytes: int) -> None:
        self._done_bytes += written_bytes
        if self._done_bytes - self._told_bytes >= _TELL_EVERY_BYTES:
            self._told_bytes = self._done_bytes
            self._tell(Progress(event="written", done_bytes=self._done_bytes, total_bytes=self._total_bytes))


def _check_disk(name: str, folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise ModelError(
            f"{name} takes {needed_bytes / 1e9:.2f} GB and {folder.parent} has {free_bytes / 1e9:.2f} GB "
            "free; make room (`swapbench models rm NAME`), or set SWAPBENCH_CACHE to a folder on another disk"
        )


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    main()

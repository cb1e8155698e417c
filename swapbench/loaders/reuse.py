"""reuse: mlx_lm's own way, in memory that the model before has left."""

from pathlib import Path
from typing import Final

import mlx.core as mx

from swapbench.loaders import platform
from swapbench.loaders.arrays import shards_of, weight_bytes
from swapbench.loaders.source import UnfitError

LOADERS: Final = {
    "reuse": {
        "cost": "freed memory stays with the process",
        "avoid": "where other programs want the memory between models",
        "fallback": "stock",
    },
}


class Reuse:
    """Keeps malloc from giving memory back, and MLX's buffers between models of the same shapes.

    MLX's buffer cache hands a buffer out only for an array of nearly its own size: between other shapes it
    would keep the old model beside the new one.
    """

    def __init__(self) -> None:
        self.why = platform.keep_freed_memory()

    def keeps_buffers(self, old: Path | None, new: Path) -> bool:
        """Whether MLX's cache shall keep what `old` frees for `new`; it is given the room if so."""
        if old is None or not _same_shapes(old, new):
            return False
        mx.set_cache_limit(weight_bytes(new))
        return True


def _same_shapes(old: Path, new: Path) -> bool:
    try:
        return _sizes(old) == _sizes(new)
    except (UnfitError, OSError):
        return False


def _sizes(checkpoint: Path) -> list[int]:
    return sorted(entry.end - entry.start for shard in shards_of(checkpoint) for entry in shard.tensors)

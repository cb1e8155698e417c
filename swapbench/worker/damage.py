"""Checkpoints damaged on purpose: copies by links, of which one file is spoilt."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swapbench.instruments import page_cache
from swapbench.spec.experiment import FaultKind
from swapbench.wire.plan import Checkpoint

# What a full disk lets be written of a file: its header, and no more.
FULL_DISK_BYTES: Final = 4096
# Of a damaged shard this much is kept; whether the rest is there no longer matters.
_KEPT_BYTES: Final = 1 << 20


def damaged(checkpoint: Checkpoint, kind: FaultKind | None, scratch_dir: Path) -> Checkpoint:
    """A copy that is damaged as the fault says; the checkpoint itself where that damages none."""
    damage = DAMAGES.get(kind) if kind else None
    if damage is None:
        return checkpoint
    copy = scratch_dir / "damaged"
    _link_all(checkpoint.path, copy)
    damage(copy)
    return checkpoint.model_copy(update={"path": copy})


def _link_all(folder: Path, copy: Path) -> None:
    """A folder of links to the same files: what is replaced in it is untouched in the other."""
    copy.mkdir(parents=True, exist_ok=True)
    for old in copy.iterdir():
        old.unlink()
    for file in folder.iterdir():
        if file.is_file():
            (copy / file.name).symlink_to(file.resolve())


def _last_shard(copy: Path) -> Path:
    return page_cache.weight_files(copy)[-1]


def _missing(copy: Path) -> None:
    _last_shard(copy).unlink()


def _truncated(copy: Path) -> None:
    _rewrite(_last_shard(copy), lambda data: data[: len(data) // 2])


def _corrupt(copy: Path) -> None:
    _rewrite(_last_shard(copy), lambda data: data[:8] + b"\0" * 64 + data[72:])


def _rewrite(shard: Path, change: Callable[[bytes], bytes]) -> None:
    """Put a changed beginning in the shard's place."""
    with shard.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        file.seek(0)
        data = file.read(8 + header_bytes + _KEPT_BYTES)
    shard.unlink()
    shard.write_bytes(change(data))


def _other_shapes(copy: Path) -> None:
    path = copy / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    sizes = config.get("text_config", config)
    sizes["intermediate_size"] *= 2
    path.unlink()
    path.write_text(json.dumps(config), encoding="utf-8")


DAMAGES: Final[dict[FaultKind, Callable[[Path], None]]] = {
    FaultKind.MISSING_SHARD: _missing,
    FaultKind.TRUNCATED_SHARD: _truncated,
    FaultKind.CORRUPT_HEADER: _corrupt,
    FaultKind.OTHER_SHAPES: _other_shapes,
}

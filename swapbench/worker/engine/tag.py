"""Which weights a KV cache belongs to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from swapbench.models.cache import checkpoint_digest


@dataclass(frozen=True)
class ModelTag:
    """Identifies weights, not only their shapes: two models of one geometry must not share caches."""

    fingerprint: str
    revision: str
    name: str

    @classmethod
    def of(cls, checkpoint: Path, name: str) -> Self:
        """The tag of a checkpoint folder, by every byte of its weights.

        Takes a millisecond, and seconds at the first time that swapbench sees the files.

        Raises:
            OSError: a file can't be read.
        """
        return cls(checkpoint_digest(checkpoint), _revision(checkpoint), name)


def _revision(checkpoint: Path) -> str:
    """The commit of a Hugging Face cache snapshot, .../snapshots/<commit>."""
    return checkpoint.name if checkpoint.parent.name == "snapshots" else ""

"""Which weights a KV cache belongs to."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SAMPLES = 64
_SAMPLE_BYTES = 256


@dataclass(frozen=True)
class ModelTag:
    """Identifies weights, not only their shapes: two models of one geometry must not share caches."""

    fingerprint: str
    revision: str
    name: str

    @classmethod
    def of(cls, checkpoint: Path, name: str) -> Self:
        """The tag of a checkpoint folder, in milliseconds whatever its size.

        Hashed are config.json and of each weight file its size, its safetensors header, and samples of its
        content: fine-tunes of one model differ nearly everywhere, and copies nowhere.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update((checkpoint / "config.json").read_bytes())
        for file in sorted(checkpoint.glob("model*.safetensors")):
            digest.update(file.name.encode())
            _add_file(digest, file)
        return cls(digest.hexdigest(), _revision(checkpoint), name)


def _add_file(digest: hashlib.blake2b, file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        header_bytes = 8 + int.from_bytes(os.pread(descriptor, 8, 0), "little")
        digest.update(size.to_bytes(8, "little"))
        digest.update(os.pread(descriptor, min(header_bytes, size), 0))
        step = max(1, (size - header_bytes) // _SAMPLES)
        for offset in range(header_bytes, size, step):
            digest.update(os.pread(descriptor, _SAMPLE_BYTES, offset))
    finally:
        os.close(descriptor)


def _revision(checkpoint: Path) -> str:
    """The commit of a Hugging Face cache snapshot, .../snapshots/<commit>."""
    return checkpoint.name if checkpoint.parent.name == "snapshots" else ""

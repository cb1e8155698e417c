"""Which weights a checkpoint holds: a digest of every byte of them, found once for each file."""

import hashlib
import re
from pathlib import Path
from typing import Final

from swapbench.instruments.page_cache import weight_files
from swapbench.models.remembered import recall, remembered, state_of

_QUESTION: Final = "sha256"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def checkpoint_digest(folder: Path) -> str:
    """A digest of config.json and of every byte of the weight files, in seconds a file at its first time.

    Raises:
        OSError: a file can't be read.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weight_files(folder):
        digest.update(f"{file.name} {_sha256(file)}\n".encode())
    return digest.hexdigest()


def undigested(folder: Path) -> int:
    """Bytes that `checkpoint_digest` would have to read now.

    Raises:
        OSError: a file can't be looked at.
    """
    return sum(
        file.stat().st_size
        for file in weight_files(folder)
        if not _name_of_blob(file) and recall(_QUESTION, file, state_of([file])) is None
    )


def _sha256(file: Path) -> str:
    return _name_of_blob(file) or str(remembered(_QUESTION, file, state_of([file]), lambda: _read(file)))


def _name_of_blob(file: Path) -> str:
    """The hash by which the Hugging Face cache names the file that a snapshot's link leads to."""
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else ""


def _read(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()

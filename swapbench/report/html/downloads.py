"""The run's own files, carried inside the page as far as they leave it light."""

import base64
import gzip
from collections.abc import Iterator, Mapping
from typing import Final

from swapbench.base import figures
from swapbench.report.html.page import Download

# What can still be sent, and opened on a phone. Of it this much may be data, or less where charts and tables
# take more than the rest.
MOST_BYTES: Final = 5_000_000
_MOST_BYTES_OF_DATA: Final = 3_000_000

_SAYS: Final = {
    "findings.csv": "every figure of this report",
    "comparison.json": "every figure of the comparison",
    "swaps.csv": "one row per swap",
    "phases.csv": "one row per phase and span",
    "memory.csv": "the ledgers over time",
    "requests.csv": "one row per client's request",
    "run.json": "what was run, on what, with which versions",
}


def downloads(
    files: Mapping[str, bytes], where: str, room: int = _MOST_BYTES_OF_DATA
) -> tuple[Download, ...]:
    """A download for each file: as it is where there is room, else compressed, else named only.

    Args:
        files: by name.
        where: the folder that has those which find no room.
        room: bytes of the page that are left for them.
    """
    return tuple(_packed(files, where, min(room, _MOST_BYTES_OF_DATA)))


def _packed(files: Mapping[str, bytes], where: str, room: int) -> Iterator[Download]:
    for name, data in files.items():
        says, size = _SAYS.get(name.rpartition("-")[2], ""), figures.size(len(data))
        plain = _href("text/csv" if name.endswith(".csv") else "application/json", data)
        if len(plain) <= room // 2:
            room -= len(plain)
            yield Download(name, says, size, plain)
            continue
        packed = _href("application/gzip", gzip.compress(data, mtime=0))
        if len(packed) <= room:
            room -= len(packed)
            yield Download(f"{name}.gz", says, f"{size}, compressed", packed)
        else:
            told = filter(None, (says, f"too large for this page, it is in {where}"))
            yield Download(name, ", ".join(told), size, "")


def _href(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"

"""The run's own files, carried inside the page as far as they leave it light."""

import base64
import gzip
from collections.abc import Iterator, Mapping
from typing import Final

from swapbench.analysis import figures
from swapbench.report.html.page import Download

# Of 5 MB this much may be data; the charts are the rest.
_MOST_BYTES: Final = 3_000_000

_SAYS: Final = {
    "findings.csv": "every figure of this report",
    "comparison.json": "every figure of the comparison",
    "swaps.csv": "one row per swap",
    "phases.csv": "one row per phase and span",
    "memory.csv": "the ledgers over time",
    "requests.csv": "one row per client's request",
    "run.json": "what was run, on what, with which versions",
}


def downloads(files: Mapping[str, bytes], where: str) -> tuple[Download, ...]:
    """A download for each file: as it is where there is room, else compressed, else named only.

    Args:
        files: by name.
        where: the folder that has those which find no room.
    """
    return tuple(_packed(files, where))


def _packed(files: Mapping[str, bytes], where: str) -> Iterator[Download]:
    room = _MOST_BYTES
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

"""The eight phases of a swap, the ledgers of memory, the headline: the vocabulary everything else shares."""

from collections.abc import Container
from enum import StrEnum
from typing import Final, Literal


class Phase(StrEnum):
    """One of the eight parts of a swap, in the order in which they are carried out."""

    DRAIN = "drain"
    EVICT = "evict"
    SHUTDOWN = "shutdown"
    UNLOAD = "unload"
    LOAD = "load"
    RECONFIGURE = "reconfigure"
    UPDATE_TAG = "update_tag"
    REINIT = "reinit"


PHASES: Final = tuple(Phase)

# A swap of which no phase can be seen, as one: from its request to its end as a client sees it.
WHOLE: Final = "whole"

# Measured after the swap, by the new engine, and reported beside the total; not one of the eight.
FIRST_TOKEN: Final = "first_token"

# Spans that only ranks have: waiting for the others, and how much longer the slowest of them worked.
BARRIER: Final = "barrier"
SKEW: Final = "skew"

MEANING: Final[dict[Phase, str]] = {
    Phase.DRAIN: "stop admissions and wait for requests in flight, up to a deadline",
    Phase.EVICT: "save the agents' KV caches to disk and free them",
    Phase.SHUTDOWN: "stop the batch engine",
    Phase.UNLOAD: "drop the old model, collect, clear MLX's cache",
    Phase.LOAD: "read the new model's weights and tokenizer",
    Phase.RECONFIGURE: "fit the block pool to the new model's KV geometry",
    Phase.UPDATE_TAG: "tell the cache store which model's caches are valid",
    Phase.REINIT: "start the new batch engine and requeue what was carried over",
}

LEDGERS: Final = ("mlx_active", "mlx_cache", "footprint", "system_available")

# Beside the four, where the platform tells: what the process footprint leaves out on Linux, and what no
# process is charged for on macOS.
BESIDE_LEDGERS: Final = ("file_backed", "system_wired", "system_compressed")

ALL_LEDGERS: Final = (*LEDGERS, *BESIDE_LEDGERS)

LEDGER_LABELS: Final[dict[str, str]] = {
    "mlx_active": "MLX active",
    "mlx_cache": "MLX cache",
    "footprint": "process footprint",
    "system_available": "system available",
    "file_backed": "file-backed pages",
    "system_wired": "system wired",
    "system_compressed": "system compressed",
}


HeadlineFigure = Literal["to_first_token", "total"]


def counts(status: str, valid: bool, warmup: bool, figures: Container[str]) -> bool:
    """Whether statistics rest on a swap: it went well, is no warm-up, and is what its label says.

    `figures` are the columns of swaps.csv that it has a figure in.
    """
    return status == "ok" and valid and not warmup and ("total_s" in figures or "to_first_token_s" in figures)


def headline_figure(counted: int, answered: int) -> HeadlineFigure:
    """Swap request to first token, where all counted swaps of a scenario have one; the total where not.

    `answered` is how many of the counted ones have a first token.
    """
    return "to_first_token" if 0 < counted == answered else "total"

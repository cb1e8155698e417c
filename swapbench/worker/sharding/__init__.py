"""A model on several ranks: what coordinator and ranks say, a line each; what all ranks measured together."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from swapbench.base.phases import BARRIER, SKEW
from swapbench.spec.experiment import EngineSettings, PageCache, Sharded
from swapbench.wire.swap import Message, PhaseMeasured, Reading

# Where a rank finds the word that makes it one of ours.
TOKEN_VARIABLE: Final = "SWAPBENCH_RANK_TOKEN"


class Work(StrEnum):
    """What a rank can be told to do."""

    CHECK = "check"
    PAGE_CACHE = "page_cache"
    RESIDENCY = "residency"
    UNLOAD = "unload"
    LOAD = "load"
    RECONFIGURE = "reconfigure"
    UPDATE_TAG = "update_tag"
    REINIT = "reinit"
    GENERATE = "generate"
    SETTLE = "settle"


class RankOrder(Message):
    """One piece of work for every rank alike."""

    work: Work
    number: int = 0
    name: str = ""
    path: Path = Path()
    label: PageCache = PageCache.AS_IS
    prompt_tokens: int = 1
    tokens: int = 1


class Hello(Message):
    """A rank has started, and says who it is before it imports anything heavy."""

    said: Literal["hello"] = "hello"
    token: str
    rank: int


class Welcome(Message):
    """How the rank is to work."""

    sharded: Sharded
    ranks: int
    engine: EngineSettings
    pulse_s: float


class Ready(Message):
    """The rank has met the others, and holds no model yet."""

    said: Literal["ready"] = "ready"
    versions: dict[str, str]
    device: str
    note: str = ""


class Pulse(Message):
    """A sign of life, with what the rank holds at this moment."""

    said: Literal["pulse"] = "pulse"
    reading: Reading


class Report(Message):
    """An order is carried out; or it is refused before anything was touched, or failed.

    `measured` is the phase with its spans, on the rank's own clock since it got the order.
    """

    said: Literal["report"] = "report"
    number: int
    error: str = ""
    refused: str = ""
    measured: tuple[PhaseMeasured, ...] = ()
    weight_bytes: int = 0
    kv_capacity_bytes: int = 0
    tag: str = ""
    resident: float = 0.0
    tokens: tuple[int, ...] = ()
    tokens_per_s: float | None = None
    settle_s: float = 0.0
    settled: Reading = Reading()


Said = Hello | Ready | Pulse | Report

# What a rank said on one line.
SAID: Final[TypeAdapter[Said]] = TypeAdapter(Annotated[Said, Field(discriminator="said")])

_SUMS: Final = ("mlx_active_bytes", "mlx_cache_bytes", "footprint_bytes", "file_backed_bytes")
_COUNTS: Final = ("mlx_peak_bytes", "minor_faults", "major_faults", "disk_read_bytes", "weight_bytes")

# What a rank measured of a phase: the whole first, then its spans.
Rows = Sequence[PhaseMeasured]


def own_work_s(rows: Rows) -> float:
    """What a rank took for a phase without waiting for the others."""
    return rows[0].seconds - sum(row.seconds for row in rows if row.span == BARRIER)


def slowest(ranks: Sequence[Rows]) -> int:
    """The rank that worked longest: the others wait for it. The lowest of equals."""
    return max(range(len(ranks)), key=lambda rank: (own_work_s(ranks[rank]), -rank))


def gather(ranks: Sequence[Rows]) -> Iterator[PhaseMeasured]:
    """Every rank's rows; then, with no rank, the phase as the swap had it: the slowest rank's row and spans,
    with the memory of all; and the skew, by how much its own work was longer than the fastest rank's.

    Durations are each rank's own: clocks of two machines are never subtracted from each other.
    """
    for rank, rows in enumerate(ranks):
        yield from (row.model_copy(update={"rank": rank}) for row in rows)
    wholes = [rows[0] for rows in ranks]
    together: dict[str, object] = {name: _sum([getattr(row, name) for row in wholes]) for name in _COUNTS}
    together["before"] = sum_up([row.before for row in wholes])
    together["after"] = sum_up([row.after for row in wholes])
    whole, *spans = ranks[slowest(ranks)]
    yield whole.model_copy(update={"rank": None, **together})
    yield from (row.model_copy(update={"rank": None}) for row in spans)
    if len(ranks) > 1:
        work_s = [own_work_s(rows) for rows in ranks]
        yield PhaseMeasured(
            swap=whole.swap,
            phase=whole.phase,
            span=SKEW,
            rank=None,
            start_s=whole.start_s + min(work_s),
            seconds=max(work_s) - min(work_s),
        )


def sum_up(readings: Sequence[Reading]) -> Reading:
    """What all ranks hold together; of a machine's own ledgers, those of the machine that has least left."""
    held = {name: _sum([getattr(reading, name) for reading in readings]) for name in _SUMS}
    scarcest = min(readings, key=lambda r: r.system_available_bytes or 0, default=Reading())
    return scarcest.model_copy(update=held)


def _sum(values: Sequence[int | None]) -> int | None:
    """The sum, or None where any rank doesn't know: a part of a sum would pass for the whole."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None

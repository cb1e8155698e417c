"""What the coordinator and its ranks say to each other: one JSON object a line, each way."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from swapbench.spec.experiment import EngineSettings, PageCache, Sharded
from swapbench.wire.events import Message, PhaseMeasured, Reading

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


class Order(Message):
    """One piece of work for every rank alike."""

    number: int
    work: Work
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
    pid: int
    host: str


class Welcome(Message):
    """The coordinator's answer: how the rank is to work."""

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

_SAID: Final[TypeAdapter[Said]] = TypeAdapter(Annotated[Said, Field(discriminator="said")])


def decode(line: bytes) -> Said:
    """What a rank said on one line.

    Raises:
        ValueError: it is none of these.
    """
    return _SAID.validate_json(line)

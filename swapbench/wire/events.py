"""What the worker says while it carries out its plan: one event a line."""

import json
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from swapbench.base.errors import WorkerError
from swapbench.wire.plan import WIRE_VERSION
from swapbench.wire.swap import (
    Audit,
    ClientRequest,
    MemorySample,
    Message,
    PhaseMeasured,
    Reading,
    SwapEvent,
    SwapFinished,
)

# Among the versions of a worker: the platform that its mlx was built for.
WHEEL: Final = "mlx wheel"


class WorkerReady(Message):
    """The worker of an arm has imported what it needs and holds no model: `baseline` is what it weighs then.

    `clock_origin_ns` is where its clock has its zero on the machine's monotonic clock, which the parent
    shares; None for a clock that plays a script.
    """

    event: Literal["worker_ready"] = "worker_ready"
    arm: str = ""
    clock_origin_ns: int | None = None
    wire_version: int = WIRE_VERSION
    pid: int
    python: str
    versions: dict[str, str]
    device: str
    baseline: Reading


class TurnStarted(Message):
    """The parent's own word: a worker for this turn comes next."""

    event: Literal["turn_started"] = "turn_started"
    turn: int
    arm: str = ""


class RoundStarted(SwapEvent):
    """A worker begins a round; where there are several strategies, each has a worker of its own in it."""

    event: Literal["round_started"] = "round_started"


class SwapStarted(SwapEvent):
    """A swap is about to be prepared: the old model served, the workload in flight, the page cache set."""

    event: Literal["swap_started"] = "swap_started"


class StepStarted(SwapEvent):
    """What the worker does now: a phase of the swap, or something outside it, in words."""

    event: Literal["step_started"] = "step_started"
    step: str


class Note(Message):
    """Something that the user should know, and that is kept in run.json."""

    event: Literal["note"] = "note"
    text: str


class Recovered(Message):
    """After a worker was lost in a swap: the old model of that swap answers again, or can't (`error`)."""

    event: Literal["recovered"] = "recovered"
    error: str = ""
    audit: Audit = Audit()


class GaveUp(Message):
    """After a failed rollback nobody knows what this process holds: another has to go on."""

    event: Literal["gave_up"] = "gave_up"
    reason: str


class RunFinished(Message):
    """The schedule is carried out; or it was stopped, and why."""

    event: Literal["run_finished"] = "run_finished"
    stopped: str = ""


Event = (
    TurnStarted
    | WorkerReady
    | RoundStarted
    | SwapStarted
    | StepStarted
    | PhaseMeasured
    | SwapFinished
    | ClientRequest
    | MemorySample
    | Note
    | Recovered
    | GaveUp
    | RunFinished
)

_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def encode(message: Message) -> bytes:
    """One line of JSON, newline included."""
    try:
        text = message.model_dump_json(exclude_defaults=False)
    except PydanticSerializationError:
        # What libraries say of a file may name it by what is no text.
        text = json.dumps(message.model_dump(mode="json", exclude_defaults=False), ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def decode_event(line: bytes) -> Event:
    """The event on one line.

    Raises:
        WorkerError: the line is no event of this wire version.
    """
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise WorkerError(
            f"the worker sent something that is no event: {line[:80]!r} ({error.error_count()} errors)"
        ) from None

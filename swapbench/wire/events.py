"""What parent and worker say to each other: one plan in, one event a line out."""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from swapbench.base.errors import WorkerError
from swapbench.base.phases import Phase
from swapbench.spec.experiment import (
    EngineSettings,
    InjectedFault,
    PageCache,
    Scenario,
    Script,
    Sharded,
    Source,
    Verify,
    Workload,
)
from swapbench.spec.preset import Preset
from swapbench.spec.strategy import Strategy

# 1: first published form.
# 2: servers seen from outside: `server` and `swap_timeout_s` of the plan; what they report, and requests in
#    flight that fail or stall, of a swap.
# 3: `local` among the sources of checkpoints.
WIRE_VERSION: Final = 3


class Message(BaseModel):
    """Something that crosses the wire; never changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Reading(Message):
    """The ledgers at one moment, in bytes; None where this machine has no such counter.

    The four, and beside them the resident pages of mapped files (Linux), which the footprint leaves out,
    and what the machine has wired and compressed (macOS).
    """

    mlx_active_bytes: int | None = None
    mlx_cache_bytes: int | None = None
    footprint_bytes: int | None = None
    system_available_bytes: int | None = None
    file_backed_bytes: int | None = None
    system_wired_bytes: int | None = None
    system_compressed_bytes: int | None = None


class Checkpoint(Message):
    """A model as the run uses it."""

    name: str
    reference: str
    source: Source
    path: Path
    weight_bytes: int = Field(ge=0)


class Server(Message):
    """A server seen from outside: how it is spoken to, and where it runs; started where `url` is empty.

    `log` is where what it prints is kept.
    """

    preset: Preset
    url: str = ""
    log: Path = Path()


class PlannedSwap(Message):
    """One swap to carry out."""

    round: int
    warmup: bool
    scenario: str


class Reply(Message):
    """What a model says, greedily, to the verification prompt of so many tokens."""

    prompt_tokens: int
    tokens: tuple[int, ...]


class Questions(Message):
    """What a fresh process is asked about a checkpoint."""

    checkpoint: Checkpoint
    verify: Verify
    engine: EngineSettings
    sharded: Sharded | None = None


class Replies(Message):
    """Its replies, one for each length of prompt."""

    replies: tuple[Reply, ...]


class Plan(Message):
    """Everything the worker must know. Rounds and their order are decided by the parent."""

    wire_version: int = WIRE_VERSION
    target: str
    strategy: str
    how: Strategy
    checkpoints: dict[str, Checkpoint]
    scenarios: tuple[Scenario, ...]
    schedule: tuple[PlannedSwap, ...]
    workload: Workload
    engine: EngineSettings
    page_cache: PageCache
    first_token: bool
    steady_tokens: int
    settle_after_unload: bool
    touch_free_memory: bool
    verify: Verify
    # By model: what a fresh process answers. A model without is not verified.
    expected: dict[str, tuple[Reply, ...]] = {}
    sample_every_s: float
    fail_fast: bool
    scratch_dir: Path
    swap_timeout_s: float
    server: Server | None = None
    # Somebody's own orchestrator, as module:class; looked for in the worker's interpreter.
    orchestrator: str = ""
    script: Script | None = None
    sharded: Sharded | None = None
    faults: tuple[InjectedFault, ...] = ()
    # The swap in which the worker before was lost: its old model is to answer again, first of all.
    recover: PlannedSwap | None = None

    def scenario(self, name: str) -> Scenario:
        """The scenario called `name`."""
        return next(s for s in self.scenarios if s.name == name)

    def asks(self, scenario: Scenario) -> bool:
        """Whether the new model is asked for a token after the scenario's swaps."""
        return self.first_token if scenario.first_token is None else scenario.first_token

    def asks_of(self, model: str) -> bool:
        """Whether it is after any swap that brings this model."""
        return any(scenario.to_model == model and self.asks(scenario) for scenario in self.scenarios)

    def page_cache_of(self, scenario: str) -> PageCache:
        """What is to be true of the page cache in the scenario's swaps."""
        return self.scenario(scenario).page_cache or self.page_cache


# Among the versions of a worker: the platform that its mlx was built for.
WHEEL: Final = "mlx wheel"


class WorkerReady(Message):
    """The worker has imported what it needs and holds no model: `baseline` is what it weighs then.

    `clock_origin_ns` is where its clock has its zero on the machine's monotonic clock, which the parent
    shares; None for a clock that plays a script.
    """

    event: Literal["worker_ready"] = "worker_ready"
    clock_origin_ns: int | None = None
    wire_version: int = WIRE_VERSION
    pid: int
    python: str
    versions: dict[str, str]
    device: str
    baseline: Reading


class TurnStarted(Message):
    """The parent's own word: what follows is of this arm, until the next turn."""

    event: Literal["turn_started"] = "turn_started"
    turn: int
    arm: str = ""


class RoundStarted(Message):
    """A worker begins a round; where there are several strategies, each has a worker of its own in it."""

    event: Literal["round_started"] = "round_started"
    round: int
    strategy: str = ""
    warmup: bool


class SwapStarted(Message):
    """A swap is about to be prepared: the old model served, the workload in flight, the page cache set."""

    event: Literal["swap_started"] = "swap_started"
    round: int
    warmup: bool
    scenario: str
    strategy: str


class StepStarted(Message):
    """What the worker does now: a phase of the swap, or something outside it, in words."""

    event: Literal["step_started"] = "step_started"
    step: str


class PhaseMeasured(Message):
    """A phase, one of its spans (`span` not empty), or the first token after the swap.

    `rank` is the process that measured it; None stands for all ranks of a sharded target together.
    """

    event: Literal["phase_measured"] = "phase_measured"
    round: int
    scenario: str
    phase: str
    span: str = ""
    rank: int | None = 0
    start_s: float
    seconds: float
    before: Reading
    after: Reading
    mlx_peak_bytes: int | None = None
    minor_faults: int | None = None
    major_faults: int | None = None
    disk_read_bytes: int | None = None
    weight_bytes: int | None = None


SwapStatus = Literal["ok", "failed", "rolled_back", "refused"]

# By what the old model answers again after a failed swap.
Recovery = Literal["itself", "swap", "restart"]


class SwapFinished(Message):
    """A swap, whatever became of it. Figures that were not reached are None."""

    event: Literal["swap_finished"] = "swap_finished"
    round: int
    warmup: bool
    scenario: str
    strategy: str
    from_model: str
    to_model: str
    start_s: float | None = None
    total_s: float | None = None
    unattributed_s: float | None = None
    probe_s: float | None = None
    first_token_s: float | None = None
    to_first_token_s: float | None = None
    loaded_bytes: int | None = None
    load_gb_per_s: float | None = None
    resident_before: float | None = None
    valid: bool = True
    invalid_reason: str = ""
    drained_requests: int | None = 0
    carried_requests: int | None = 0
    answered_requests: int | None = 0
    evicted_caches: int | None = 0
    evicted_bytes: int | None = 0
    status: SwapStatus = "ok"
    error: str = ""
    failed_phase: Phase | None = None
    rollback_s: float | None = None
    settle_s: float | None = None
    settled: Reading = Reading()
    position: int | None = None
    release_settle_s: float | None = None
    released: Reading = Reading()
    second_first_token_s: float | None = None
    steady_tokens_per_s: float | None = None
    verified_tokens: int | None = None
    kv_capacity_bytes: int | None = None
    longest_stall_s: float | None = None
    prefilled_tokens: int | None = 0
    prefill_s: float | None = None
    restored_caches: int | None = 0
    restored_tokens: int | None = 0
    restored_bytes: int | None = 0
    restore_s: float | None = None
    sent_requests: int | None = 0
    refused_requests: int | None = 0
    lost_requests: int | None = 0
    longest_wait_s: float | None = None
    fault: str = ""
    readable_caches: int | None = None
    broken_caches: int | None = None
    loader: str | None = None
    loader_why: str = ""
    ahead_bytes: int | None = 0
    kept_bytes: int | None = 0
    to_first_byte_s: float | None = None
    failed_requests: int | None = None
    stalled_requests: int | None = None
    reported_load_s: float | None = None
    reported_memory_bytes: int | None = None
    recovery: Recovery | None = None
    restarts: int | None = None
    fresh_footprint_bytes: int | None = None
    energy_j: float | None = None
    idle_w: float | None = None


class ClientRequest(Message):
    """A request of a client that went on sending, or in flight on a server that is seen from outside.

    Times count from the swap request, earlier ones below 0.
    """

    event: Literal["client_request"] = "client_request"
    round: int
    scenario: str
    strategy: str = ""
    client: int
    request: str
    sent_s: float
    first_token_s: float | None = None
    answered_s: float | None = None
    model: str = ""
    carried: bool | None = False
    outcome: Literal["answered", "refused", "lost", "failed", "stalled"]
    longest_gap_s: float | None = None
    error: str = ""


class MemorySample(Message):
    """The ledgers at `t_s` since the worker's clock began, for the timeline.

    The parent looks on from outside too: a worker that is stuck, or holds Python's lock, takes no samples.
    It sees no ledger of MLX's, and sums up the worker with all its children.
    """

    event: Literal["memory_sample"] = "memory_sample"
    round: int
    scenario: str
    strategy: str = ""
    t_s: float
    ledgers: Reading
    swap_used_bytes: int | None = None
    swap_out_bytes: int | None = None
    observer: Literal["worker", "parent"] = "worker"


class Note(Message):
    """Something that the user should know, and that is kept in run.json."""

    event: Literal["note"] = "note"
    text: str


class Recovered(Message):
    """After a worker was lost in a swap: the old model of that swap answers again, or can't (`error`).

    `readable_caches` of the agents' caches on disk can be read back; `broken_caches` can't, though they bear
    a cache's name.
    """

    event: Literal["recovered"] = "recovered"
    error: str = ""
    settled: Reading = Reading()
    readable_caches: int | None = None
    broken_caches: int | None = None


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

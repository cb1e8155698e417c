"""What is known of a swap, and kept: each figure with its unit, its meaning and what an empty cell means.

A new figure of a swap is one field here, and the place that measures it: the tables of a run's folder, their
columns in the documentation and their types come from these fields.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from swapbench.base.phases import Phase
from swapbench.wire.measures import Measure, RunTable, figure, measured

# Arm, round, strategy, scenario: what tells the swaps of a run apart.
SwapKey = tuple[str, int, str, str]

SwapStatus = Literal["ok", "failed", "rolled_back", "refused"]

# By what the old model answers again after a failed swap.
Recovery = Literal["itself", "swap", "restart"]

_NO_LEDGER: Final = "where there is no such ledger, and for spans"
_NO_COUNTER: Final = "where the system does not tell"
_FAILED: Final = "when the swap failed"
_UNREACHED: Final = "when not reached"
_UNASKED: Final = "when not asked for, or failed"
_UNSETTLED: Final = "when the swap failed for good, or its worker was lost"
_UNSEEN: Final = "on servers seen from outside; in transcribed runs; when the worker was lost"
_NO_SERVER: Final = "without a server seen from outside"
_NO_CLIENTS: Final = "on servers seen from outside, and when the worker was lost; 0 without clients"
_UNTOLD: Final = "where a server says nothing"
_OLD_MODEL: Final = "when the swap was ok, the old model did not come back, or a server was seen from outside"


class Message(BaseModel):
    """Something that crosses the wire; never changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Reading(Message):
    """The ledgers at one moment, in bytes; None where this machine has no such counter."""

    mlx_active_bytes: int | None = measured("MLX's active memory", _NO_LEDGER)
    mlx_cache_bytes: int | None = measured("MLX's pool of freed buffers", _NO_LEDGER)
    footprint_bytes: int | None = measured(
        "what the system would kill the process for: `phys_footprint` on macOS; anonymous, shared and "
        "swapped-out pages on Linux",
        _NO_LEDGER,
    )
    system_available_bytes: int | None = measured("memory available on the machine", _NO_LEDGER)
    file_backed_bytes: int | None = measured(
        "resident pages of files that the process has mapped: the system takes them back whenever it likes,"
        " so they are in no footprint",
        "on macOS, and for spans",
    )
    system_wired_bytes: int | None = measured(
        "memory of the machine that can't be moved or compressed, the GPU's among it",
        "on Linux, and for spans",
    )
    system_compressed_bytes: int | None = measured(
        "memory that the machine's compressor takes", "on Linux, and for spans"
    )


class PlannedSwap(Message):
    """One swap to carry out, by its key and its models; between swaps a round, or a turn, of no scenario."""

    turn: int = measured(
        "which turn of the run, from 0: what one worker carried out; the order of arms and strategies",
        default=0,
    )
    arm: str = measured("in runs that compare two things: `A` or `B`", "in others", default="")
    round: Annotated[int, Measure("round, from 0; warm-up rounds come first")]
    warmup: Annotated[bool, Measure("whether the round is a warm-up, and so in no statistic")]
    scenario: Annotated[str, Measure("name of the scenario", "between swaps")]
    strategy: str = measured("how swaps are carried out", "before a worker's first round", default="")
    from_model: str = measured("the model before the swap", default="")
    to_model: str = measured("the model after the swap", default="")

    @property
    def key(self) -> SwapKey:
        """What tells it apart from the others of the run."""
        return self.arm, self.round, self.strategy, self.scenario

    def between(self) -> Self:
        """Its round alone, between swaps."""
        return self.model_copy(update={"scenario": "", "from_model": "", "to_model": ""})


# Before a worker's first round, and what belongs to none.
NO_SWAP: Final = PlannedSwap(round=0, warmup=False, scenario="")


class SwapEvent(Message):
    """An event, and the swap that it is of."""

    swap: PlannedSwap = NO_SWAP


class PhaseMeasured(SwapEvent):
    """A phase, one of its spans (`span` not empty), or the first token after the swap.

    `rank` is the process that measured it; None stands for all ranks of a sharded target together.
    """

    event: Literal["phase_measured"] = "phase_measured"
    phase: Annotated[
        str,
        Measure(
            "drain, evict, shutdown, unload, load, reconfigure, update_tag, reinit; or first_token; or "
            "whole, a swap that was seen from outside"
        ),
    ]
    span: str = measured(
        "the part of the phase: build, read, tokenizer of load; write and write/*agent* of evict; of "
        "sharded targets look, build, tokenizer, read, barrier, skew",
        "for the whole phase",
        default="",
    )
    rank: int | None = measured(
        "which process of a sharded target measured it; 0 for targets of one process",
        "in the rows of all ranks together, see [below](#ranks)",
        default=0,
    )
    start_s: Annotated[float, Measure("since the swap was asked for", "in transcribed runs")]
    seconds: Annotated[float, Measure("how long it took")]
    before: Reading = measured(column="{}_before_bytes", default=Reading())
    after: Reading = measured(column="{}_after_bytes", default=Reading())
    mlx_peak_bytes: int | None = measured("MLX's peak within the phase", "for spans")
    minor_faults: int | None = measured("page faults within", _NO_COUNTER)
    major_faults: int | None = measured("page faults within that the disk had to serve", _NO_COUNTER)
    disk_read_bytes: int | None = measured("bytes read from disk within", _NO_COUNTER)
    weight_bytes: int | None = measured(
        "of the new model, what this rank holds after load; all ranks together in their row",
        "but for load of sharded targets",
    )


@dataclass(frozen=True)
class Timing:
    """Seconds of a swap, as the probe measured them."""

    total_s: float | None = figure(
        "from the request to the end of the last phase; of a server seen from outside, what "
        "docs/targets.md#what-a-black-box-shows says",
        "when the swap failed; of a server, when the same request took as long hot",
    )
    unattributed_s: float | None = figure(
        "what of the total is in no phase; phases + this = total", f"{_FAILED}, or seen from outside"
    )
    first_token_s: float | None = figure(
        "from asking the new model, right after the swap, to its first token", _UNASKED
    )
    to_first_token_s: float | None = figure(
        "from the swap request to the first token: the headline", _UNASKED
    )
    start_s: float | None = figure(
        "when the swap was asked for, on the worker's clock; the same zero as `t_s` in memory.csv",
        "when it never was",
    )
    probe_s: float | None = figure(
        "the observer's own cost within the swap, a part of `unattributed_s`", _FAILED
    )
    load_gb_per_s: float | None = figure("loaded bytes over the load phase", _UNREACHED, "10⁹ B/s")
    longest_stall_s: float | None = figure(
        "the longest that a health check, asked every 20 ms, waited during swap and first token",
        f"{_FAILED}, or the check itself went wrong, which a note tells",
    )


@dataclass(frozen=True)
class SwapOutcome:
    """What a target tells of a swap beside its times; None for what it does not know.

    `seen` is what of it can be seen: its phases; or from outside, of a swap by a call, its end; of one by
    asking, the first token or, where none is asked for, the first byte. `restored_caches` and
    `restored_tokens` are what a server says that it has restored.
    """

    seen: Literal["phases", "call", "token", "byte"] = "phases"
    note: str = ""
    restored_caches: int | None = None
    restored_tokens: int | None = None

    loaded_bytes: int | None = figure("size of the new checkpoint's weights", _UNREACHED)
    resident_before: float | None = figure(
        "share of the checkpoint in the page cache right before load, by mincore",
        "when it can't be told",
        "0 to 1",
    )
    loader: str | None = figure(
        "what brought the weights: `stock`, `reuse`, `fill`, `slab`, `direct`, `map`", _UNREACHED
    )
    loader_why: str = figure(
        "what `auto` picked and why, and what was fallen back from", "when it was as asked", default=""
    )
    ahead_bytes: int | None = figure(
        "of the weights, what was there already when the old model was gone; 0 without read-ahead", _UNSEEN
    )
    kept_bytes: int | None = figure(
        "memory that the process keeps when no model is loaded: a slab, and what malloc has not given back",
        _UNSEEN,
    )
    drained_requests: int | None = figure("requests in flight that ended within the drain phase", _UNSEEN)
    carried_requests: int | None = figure(
        "requests carried over to the new model at the drain deadline", _UNSEEN
    )
    evicted_caches: int | None = figure("agents' KV caches saved to disk and freed", _UNSEEN)
    evicted_bytes: int | None = figure("bytes written for them", _UNSEEN)
    kv_capacity_bytes: int | None = figure("room for KV caches under the new model", _UNREACHED)
    prefilled_tokens: int | None = figure(
        "tokens computed into agents' caches under the old model before the swap", _UNSEEN
    )
    prefill_s: float | None = figure("how long that took", "where caches were not prefilled")
    release_settle_s: float | None = figure(
        "from the end of unload until the ledgers stood still", "without `settle_after_unload`"
    )
    released: Annotated[
        Reading, Measure("the ledgers then", "without `settle_after_unload`", column="released_{}_bytes")
    ] = field(default_factory=Reading)
    to_first_byte_s: float | None = figure(
        "from the swap request to the head of the answer, where asking a server swaps", "elsewhere"
    )
    failed_requests: int | None = figure(
        "of the requests in flight on a server, those that broke off", _NO_SERVER
    )
    stalled_requests: int | None = figure(
        "requests in flight without an end a minute after the swap", _NO_SERVER
    )
    reported_load_s: float | None = figure(
        "what the server says that its load took; what that means is in its preset", _UNTOLD
    )
    reported_memory_bytes: int | None = figure("what it says that its model takes", _UNTOLD)
    restarts: int | None = figure(
        "how often swapbench had to start the server again, from the swap's preparation to its end",
        "of targets other than servers that it starts",
    )
    fresh_footprint_bytes: int | None = figure(
        "of the new model: the process footprint of a server that had been started on it and had no other",
        f"of targets other than servers that swapbench starts, and {_FAILED}",
    )


@dataclass(frozen=True)
class Steady:
    """What an engine does once it is warm: a second request's first token, and the tokens after it."""

    first_token_s: float | None = figure(
        "time to first token of a second request, after all others were answered",
        _UNASKED,
        column="second_first_token_s",
    )
    tokens_per_s: float | None = figure(
        "the rate of that request's tokens after the first", _UNASKED, "tokens/s", "steady_tokens_per_s"
    )


@dataclass(frozen=True)
class Restored:
    """KV caches brought back for the model that serves again; those `changed` go on otherwise than before."""

    caches: int | None = figure(
        "agents' caches of the new model, evicted when it last went, read back after the swap",
        _UNSEEN,
        column="restored_caches",
    )
    tokens: int | None = figure("tokens in them", _UNSEEN, column="restored_tokens")
    bytes: int | None = figure("bytes read for them", _UNSEEN, column="restored_bytes")
    seconds: float | None = figure("how long that took", "where there were none", column="restore_s")
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Agents' caches that can be read, and files that bear a cache's name and can't be read.

    None where nobody outside can see any.
    """

    readable: int | None = figure(
        "agents' caches of the old model that can be read after the failure",
        _OLD_MODEL,
        column="readable_caches",
    )
    broken: int | None = figure(
        "files that bear a cache's name and can't be read", _OLD_MODEL, column="broken_caches"
    )


@dataclass(frozen=True)
class ClientCounts:
    """Requests of clients that went on sending during the swap."""

    sent: int | None = figure("requests of clients that went on sending", _NO_CLIENTS, column="sent_requests")
    refused: int | None = figure("refused requests of clients", _NO_CLIENTS, column="refused_requests")
    lost: int | None = figure("clients' requests that were lost", _NO_CLIENTS, column="lost_requests")
    longest_wait_s: float | None = figure(
        "the longest wait of a client's request for its first token", "without clients"
    )


class SwapFinished(SwapEvent):
    """A swap, whatever became of it. Figures that were not reached, or are not known, are None."""

    event: Literal["swap_finished"] = "swap_finished"
    position: int | None = measured(
        "how many swaps the worker had carried out before: the first loads of a process differ from later "
        "ones",
        "when the worker was lost",
    )
    status: Annotated[
        SwapStatus,
        Measure(
            "`ok`; `refused`: known to fail, and refused before anything was touched; `rolled_back`: "
            "failed, and the old model serves again; `failed`: failed, and it does not, in the same worker"
            " at least"
        ),
    ]
    error: str = measured("what went wrong, in one line", "when nothing did", default="")
    failed_phase: Phase | None = measured(
        "the phase it went wrong in, the first of several", "when nothing did, or outside the phases"
    )
    fault: str = measured(
        "the kind of fault that the experiment asked for", "when it asked for none", default=""
    )
    rollback_s: float | None = measured(
        "from the failure until the old model answered a real request again, in a new worker where the old "
        "one was lost",
        "when not rolled back",
    )
    recovery: Recovery | None = measured(
        "by what the old model answered again after the swap failed: `itself`; `swap`, after another swap; "
        "`restart`, of its process",
        "when not rolled back",
    )
    valid: Annotated[bool, Measure("false when the residency contradicts the label, or the swap failed")]
    invalid_reason: str = measured("why it is not valid", "when it is, or failed", default="")
    timing: Timing
    outcome: SwapOutcome = SwapOutcome()
    answered_requests: int | None = measured(
        "requests of the workload that were answered in the end, by either model", "when the worker was lost"
    )
    steady: Steady = Steady()
    restored: Restored = Restored()
    verified_tokens: int | None = measured(
        "tokens that were the same as a fresh process's; of a server, pieces of text as when the model was "
        "first served in the run",
        "when not verified",
    )
    audit: Audit = Audit()
    clients: ClientCounts = ClientCounts()
    settle_s: float | None = measured("how long the ledgers took to settle after the swap", _UNSETTLED)
    settled: Reading = measured(
        "the ledgers then: the leak verdict rests on these",
        f"as in phases.csv, or {_UNSETTLED}",
        column="settled_{}_bytes",
        default=Reading(),
    )
    energy_j: float | None = measured(
        "energy that the whole machine used from the swap request to the first token, where asked for, else"
        " to the swap's end; see [measuring.md](measuring.md#energy)",
        "when not reached; of sharded targets and of servers elsewhere; where the machine does not tell, or"
        " only of longer times",
    )
    idle_w: float | None = measured(
        "power that it used while the ledgers settled after the swap, the new model resident and idle",
        f"likewise, and {_FAILED}",
    )


class ClientRequest(SwapEvent):
    """A request of a client that went on sending, or in flight on a server that is seen from outside.

    Times count from the swap request, earlier ones below 0.
    """

    event: Literal["client_request"] = "client_request"
    client: Annotated[int, Measure("which client, from 1")]
    request: Annotated[str, Measure("its name")]
    sent_s: Annotated[float, Measure("when it was sent, since the swap request; below 0 before it")]
    first_token_s: float | None = measured(
        "when its first token was there, on the same clock", "when not answered"
    )
    answered_s: float | None = measured("when it was answered", "when not answered")
    model: str = measured("who answered", "when not answered", default="")
    carried: bool | None = measured(
        "whether the old engine had taken it, and handed it over to the new one", default=False
    )
    outcome: Annotated[
        Literal["answered", "refused", "lost", "failed", "stalled"],
        Measure(
            "`answered`, `refused`, `failed`, `stalled` (no end a minute after a server's swap), or "
            "`lost`: taken, and never to be answered, which fails the swap"
        ),
    ]
    longest_gap_s: float | None = measured("the longest that a stream from a server was silent", "in others")
    error: str = measured("how it failed", "when it did not", default="")


class MemorySample(SwapEvent):
    """The ledgers at `t_s` since the worker's clock began, for the timeline.

    The parent looks on from outside too: a worker that is stuck, or holds Python's lock, takes no samples.
    It sees no ledger of MLX's, and sums up the worker with all its children.
    """

    event: Literal["memory_sample"] = "memory_sample"
    t_s: Annotated[
        float,
        Measure("since the worker's clock began; a resumed run has a new worker, whose clock begins again"),
    ]
    ledgers: Annotated[
        Reading, Measure("as in phases.csv", "where there is no such ledger", column="{}_bytes")
    ]
    swap_used_bytes: int | None = measured(
        "swap in use on the machine", f"{_NO_COUNTER}, and from the parent"
    )
    swap_out_bytes: int | None = measured(
        "written to the machine's swap since it was started", f"{_NO_COUNTER}, and from the parent"
    )
    observer: Literal["worker", "parent"] = measured(
        "who looked: `worker`, or `parent`, which sees no ledger of MLX's and counts the worker's children "
        "in",
        default="worker",
    )


SWAPS: Final = RunTable(
    "swaps.csv",
    SwapFinished,
    "run_id,round,warmup,scenario,strategy,from_model,to_model,total_s,unattributed_s,first_token_s,"
    "to_first_token_s,loaded_bytes,load_gb_per_s,resident_before,valid,invalid_reason,drained_requests,"
    "carried_requests,evicted_caches,evicted_bytes,status,error,failed_phase,rollback_s,answered_requests,"
    "start_s,probe_s,settle_s,settled_mlx_active_bytes,settled_mlx_cache_bytes,settled_footprint_bytes,"
    "settled_system_available_bytes",
)
PHASES: Final = RunTable(
    "phases.csv",
    PhaseMeasured,
    "run_id,round,warmup,scenario,strategy,rank,from_model,to_model,phase,span,start_s,seconds,"
    "mlx_active_before_bytes,mlx_active_after_bytes,mlx_cache_before_bytes,mlx_cache_after_bytes,"
    "footprint_before_bytes,footprint_after_bytes,system_available_before_bytes,"
    "system_available_after_bytes,mlx_peak_bytes,minor_faults,major_faults,disk_read_bytes",
    without=("turn",),
)
_KEY_IN_SWAPS: Final = ("turn", "warmup", "from_model", "to_model")
MEMORY: Final = RunTable(
    "memory.csv",
    MemorySample,
    "run_id,round,scenario,t_s,mlx_active_bytes,mlx_cache_bytes,footprint_bytes,system_available_bytes,"
    "swap_used_bytes",
    without=_KEY_IN_SWAPS,
)
# Runs without clients that went on sending have no such table; the transcribed one has none.
REQUESTS: Final = RunTable(
    "requests.csv",
    ClientRequest,
    "run_id,round,scenario,client,request,sent_s,first_token_s,answered_s,model,carried,outcome",
    without=_KEY_IN_SWAPS,
)
TABLES: Final = (SWAPS, PHASES, MEMORY, REQUESTS)

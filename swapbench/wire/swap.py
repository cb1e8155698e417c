"""What is known of a swap, and kept: each figure with its unit, its meaning and what an empty cell means.

A new figure of a swap is one field here, and the place that measures it: the tables of a run's folder, their
columns in the documentation and their types come from these fields.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from swapbench.base.phases import Phase
from swapbench.wire.measures import Ledgers, Measure, RunTable

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

    mlx_active_bytes: Annotated[int | None, Measure("MLX's active memory", "B", _NO_LEDGER)] = None
    mlx_cache_bytes: Annotated[int | None, Measure("MLX's pool of freed buffers", "B", _NO_LEDGER)] = None
    footprint_bytes: Annotated[
        int | None,
        Measure(
            "what the system would kill the process for: `phys_footprint` on macOS; anonymous, shared and "
            "swapped-out pages on Linux",
            "B",
            _NO_LEDGER,
        ),
    ] = None
    system_available_bytes: Annotated[
        int | None, Measure("memory available on the machine", "B", _NO_LEDGER)
    ] = None
    file_backed_bytes: Annotated[
        int | None,
        Measure(
            "resident pages of files that the process has mapped: the system takes them back whenever it "
            "likes, so they are in no footprint",
            "B",
            "on macOS, and for spans",
        ),
    ] = None
    system_wired_bytes: Annotated[
        int | None,
        Measure(
            "memory of the machine that can't be moved or compressed, the GPU's among it",
            "B",
            "on Linux, and for spans",
        ),
    ] = None
    system_compressed_bytes: Annotated[
        int | None,
        Measure("memory that the machine's compressor takes", "B", "on Linux, and for spans"),
    ] = None


class PlannedSwap(Message):
    """One swap to carry out, by its key and its models; between swaps a round, or a turn, of no scenario."""

    turn: Annotated[
        int,
        Measure(
            "which turn of the run, from 0: what one worker carried out; the order of arms and strategies"
        ),
    ] = 0
    arm: Annotated[str, Measure("in runs that compare two things: `A` or `B`", empty="in others")] = ""
    round: Annotated[int, Measure("round, from 0; warm-up rounds come first")]
    warmup: Annotated[bool, Measure("whether the round is a warm-up, and so in no statistic")]
    scenario: Annotated[str, Measure("name of the scenario", empty="between swaps")]
    strategy: Annotated[str, Measure("how swaps are carried out", empty="before a worker's first round")] = ""
    from_model: Annotated[str, Measure("the model before the swap")] = ""
    to_model: Annotated[str, Measure("the model after the swap")] = ""

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
    span: Annotated[
        str,
        Measure(
            "the part of the phase: build, read, tokenizer of load; write and write/*agent* of evict; of "
            "sharded targets look, build, tokenizer, read, barrier, skew",
            empty="for the whole phase",
        ),
    ] = ""
    rank: Annotated[
        int | None,
        Measure(
            "which process of a sharded target measured it; 0 for targets of one process",
            empty="in the rows of all ranks together, see [below](#ranks)",
        ),
    ] = 0
    start_s: Annotated[float, Measure("since the swap was asked for", "s", "in transcribed runs")]
    seconds: Annotated[float, Measure("how long it took", "s")]
    before: Annotated[Reading, Ledgers("{}_before_bytes")] = Reading()
    after: Annotated[Reading, Ledgers("{}_after_bytes")] = Reading()
    mlx_peak_bytes: Annotated[int | None, Measure("MLX's peak within the phase", "B", "for spans")] = None
    minor_faults: Annotated[int | None, Measure("page faults within", empty=_NO_COUNTER)] = None
    major_faults: Annotated[
        int | None, Measure("page faults within that the disk had to serve", empty=_NO_COUNTER)
    ] = None
    disk_read_bytes: Annotated[int | None, Measure("bytes read from disk within", "B", _NO_COUNTER)] = None
    weight_bytes: Annotated[
        int | None,
        Measure(
            "of the new model, what this rank holds after load; all ranks together in their row",
            "B",
            "but for load of sharded targets",
        ),
    ] = None


@dataclass(frozen=True)
class Timing:
    """Seconds of a swap, as the probe measured them."""

    total_s: Annotated[
        float | None,
        Measure(
            "from the request to the end of the last phase; of a server seen from outside, what "
            "docs/targets.md#what-a-black-box-shows says",
            "s",
            "when the swap failed; of a server, when the same request took as long hot",
        ),
    ]
    unattributed_s: Annotated[
        float | None,
        Measure(
            "what of the total is in no phase; phases + this = total", "s", f"{_FAILED}, or seen from outside"
        ),
    ]
    first_token_s: Annotated[
        float | None,
        Measure("from asking the new model, right after the swap, to its first token", "s", _UNASKED),
    ]
    to_first_token_s: Annotated[
        float | None, Measure("from the swap request to the first token: the headline", "s", _UNASKED)
    ]
    start_s: Annotated[
        float | None,
        Measure(
            "when the swap was asked for, on the worker's clock; the same zero as `t_s` in memory.csv",
            "s",
            "when it never was",
        ),
    ] = None
    probe_s: Annotated[
        float | None,
        Measure("the observer's own cost within the swap, a part of `unattributed_s`", "s", _FAILED),
    ] = None
    load_gb_per_s: Annotated[
        float | None, Measure("loaded bytes over the load phase", "10⁹ B/s", _UNREACHED)
    ] = None
    longest_stall_s: Annotated[
        float | None,
        Measure(
            "the longest that a health check, asked every 20 ms, waited during swap and first token",
            "s",
            f"{_FAILED}, or the check itself went wrong, which a note tells",
        ),
    ] = None


# Of a swap that reached none of them.
UNTIMED: Final = Timing(None, None, None, None)


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

    loaded_bytes: Annotated[int | None, Measure("size of the new checkpoint's weights", "B", _UNREACHED)] = (
        None
    )
    resident_before: Annotated[
        float | None,
        Measure(
            "share of the checkpoint in the page cache right before load, by mincore",
            "0 to 1",
            "when it can't be told",
        ),
    ] = None
    loader: Annotated[
        str | None,
        Measure(
            "what brought the weights: `stock`, `reuse`, `fill`, `slab`, `direct`, `map`", empty=_UNREACHED
        ),
    ] = None
    loader_why: Annotated[
        str,
        Measure("what `auto` picked and why, and what was fallen back from", empty="when it was as asked"),
    ] = ""
    ahead_bytes: Annotated[
        int | None,
        Measure(
            "of the weights, what was there already when the old model was gone; 0 without read-ahead",
            "B",
            _UNSEEN,
        ),
    ] = None
    kept_bytes: Annotated[
        int | None,
        Measure(
            "memory that the process keeps when no model is loaded: a slab, and what malloc has not given"
            " back",
            "B",
            _UNSEEN,
        ),
    ] = None
    drained_requests: Annotated[
        int | None, Measure("requests in flight that ended within the drain phase", empty=_UNSEEN)
    ] = None
    carried_requests: Annotated[
        int | None, Measure("requests carried over to the new model at the drain deadline", empty=_UNSEEN)
    ] = None
    evicted_caches: Annotated[
        int | None, Measure("agents' KV caches saved to disk and freed", empty=_UNSEEN)
    ] = None
    evicted_bytes: Annotated[int | None, Measure("bytes written for them", "B", _UNSEEN)] = None
    kv_capacity_bytes: Annotated[
        int | None, Measure("room for KV caches under the new model", "B", _UNREACHED)
    ] = None
    prefilled_tokens: Annotated[
        int | None,
        Measure("tokens computed into agents' caches under the old model before the swap", empty=_UNSEEN),
    ] = None
    prefill_s: Annotated[
        float | None, Measure("how long that took", "s", "where caches were not prefilled")
    ] = None
    release_settle_s: Annotated[
        float | None,
        Measure("from the end of unload until the ledgers stood still", "s", "without `settle_after_unload`"),
    ] = None
    released: Annotated[
        Reading,
        Ledgers("released_{}_bytes", Measure("the ledgers then", "B", "without `settle_after_unload`")),
    ] = field(default_factory=Reading)
    to_first_byte_s: Annotated[
        float | None,
        Measure(
            "from the swap request to the head of the answer, where asking a server swaps", "s", "elsewhere"
        ),
    ] = None
    failed_requests: Annotated[
        int | None, Measure("of the requests in flight on a server, those that broke off", empty=_NO_SERVER)
    ] = None
    stalled_requests: Annotated[
        int | None, Measure("requests in flight without an end a minute after the swap", empty=_NO_SERVER)
    ] = None
    reported_load_s: Annotated[
        float | None,
        Measure("what the server says that its load took; what that means is in its preset", "s", _UNTOLD),
    ] = None
    reported_memory_bytes: Annotated[
        int | None, Measure("what it says that its model takes", "B", _UNTOLD)
    ] = None
    restarts: Annotated[
        int | None,
        Measure(
            "how often swapbench had to start the server again, from the swap's preparation to its end",
            empty="of targets other than servers that it starts",
        ),
    ] = None
    fresh_footprint_bytes: Annotated[
        int | None,
        Measure(
            "of the new model: the process footprint of a server that had been started on it and had no "
            "other",
            "B",
            f"of targets other than servers that swapbench starts, and {_FAILED}",
        ),
    ] = None


@dataclass(frozen=True)
class Steady:
    """What an engine does once it is warm: a second request's first token, and the tokens after it."""

    first_token_s: Annotated[
        float | None,
        Measure(
            "time to first token of a second request, after all others were answered",
            "s",
            _UNASKED,
            column="second_first_token_s",
        ),
    ] = None
    tokens_per_s: Annotated[
        float | None,
        Measure(
            "the rate of that request's tokens after the first", "tokens/s", _UNASKED, "steady_tokens_per_s"
        ),
    ] = None


@dataclass(frozen=True)
class Restored:
    """KV caches brought back for the model that serves again; those `changed` go on otherwise than before."""

    caches: Annotated[
        int | None,
        Measure(
            "agents' caches of the new model, evicted when it last went, read back after the swap",
            empty=_UNSEEN,
            column="restored_caches",
        ),
    ] = None
    tokens: Annotated[int | None, Measure("tokens in them", empty=_UNSEEN, column="restored_tokens")] = None
    bytes: Annotated[int | None, Measure("bytes read for them", "B", _UNSEEN, "restored_bytes")] = None
    seconds: Annotated[
        float | None, Measure("how long that took", "s", "where there were none", "restore_s")
    ] = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Agents' caches that can be read, and files that bear a cache's name and can't be read.

    None where nobody outside can see any.
    """

    readable: Annotated[
        int | None,
        Measure(
            "agents' caches of the old model that can be read after the failure",
            empty=_OLD_MODEL,
            column="readable_caches",
        ),
    ] = None
    broken: Annotated[
        int | None,
        Measure("files that bear a cache's name and can't be read", empty=_OLD_MODEL, column="broken_caches"),
    ] = None


@dataclass(frozen=True)
class ClientCounts:
    """Requests of clients that went on sending during the swap."""

    sent: Annotated[
        int | None,
        Measure("requests of clients that went on sending", empty=_NO_CLIENTS, column="sent_requests"),
    ] = None
    refused: Annotated[
        int | None, Measure("refused requests of clients", empty=_NO_CLIENTS, column="refused_requests")
    ] = None
    lost: Annotated[
        int | None,
        Measure("clients' requests that were lost", empty=_NO_CLIENTS, column="lost_requests"),
    ] = None
    longest_wait_s: Annotated[
        float | None,
        Measure("the longest wait of a client's request for its first token", "s", "without clients"),
    ] = None


class SwapFinished(SwapEvent):
    """A swap, whatever became of it. Figures that were not reached, or are not known, are None."""

    event: Literal["swap_finished"] = "swap_finished"
    position: Annotated[
        int | None,
        Measure(
            "how many swaps the worker had carried out before: the first loads of a process differ from "
            "later ones",
            empty="when the worker was lost",
        ),
    ] = None
    status: Annotated[
        SwapStatus,
        Measure(
            "`ok`; `refused`: known to fail, and refused before anything was touched; `rolled_back`: "
            "failed, and the old model serves again; `failed`: failed, and it does not, in the same "
            "worker at least"
        ),
    ]
    error: Annotated[str, Measure("what went wrong, in one line", empty="when nothing did")] = ""
    failed_phase: Annotated[
        Phase | None,
        Measure(
            "the phase it went wrong in, the first of several",
            empty="when nothing did, or outside the phases",
        ),
    ] = None
    fault: Annotated[
        str, Measure("the kind of fault that the experiment asked for", empty="when it asked for none")
    ] = ""
    rollback_s: Annotated[
        float | None,
        Measure(
            "from the failure until the old model answered a real request again, in a new worker where "
            "the old one was lost",
            "s",
            "when not rolled back",
        ),
    ] = None
    recovery: Annotated[
        Recovery | None,
        Measure(
            "by what the old model answered again after the swap failed: `itself`; `swap`, after another "
            "swap; `restart`, of its process",
            empty="when not rolled back",
        ),
    ] = None
    valid: Annotated[bool, Measure("false when the residency contradicts the label, or the swap failed")]
    invalid_reason: Annotated[str, Measure("why it is not valid", empty="when it is, or failed")] = ""
    timing: Timing
    outcome: SwapOutcome = SwapOutcome()
    answered_requests: Annotated[
        int | None,
        Measure(
            "requests of the workload that were answered in the end, by either model",
            empty="when the worker was lost",
        ),
    ] = None
    steady: Steady = Steady()
    restored: Restored = Restored()
    verified_tokens: Annotated[
        int | None,
        Measure(
            "tokens that were the same as a fresh process's; of a server, pieces of text as when the "
            "model was first served in the run",
            empty="when not verified",
        ),
    ] = None
    audit: Audit = Audit()
    clients: ClientCounts = ClientCounts()
    settle_s: Annotated[
        float | None, Measure("how long the ledgers took to settle after the swap", "s", _UNSETTLED)
    ] = None
    settled: Annotated[
        Reading,
        Ledgers(
            "settled_{}_bytes",
            Measure(
                "the ledgers then: the leak verdict rests on these", "B", f"as in phases.csv, or {_UNSETTLED}"
            ),
        ),
    ] = Reading()
    energy_j: Annotated[
        float | None,
        Measure(
            "energy that the whole machine used from the swap request to the first token, where asked "
            "for, else to the swap's end; see [measuring.md](measuring.md#energy)",
            "J",
            "when not reached; of sharded targets and of servers elsewhere; where the machine does not "
            "tell, or only of longer times",
        ),
    ] = None
    idle_w: Annotated[
        float | None,
        Measure(
            "power that it used while the ledgers settled after the swap, the new model resident and idle",
            "W",
            f"likewise, and {_FAILED}",
        ),
    ] = None


class ClientRequest(SwapEvent):
    """A request of a client that went on sending, or in flight on a server that is seen from outside.

    Times count from the swap request, earlier ones below 0.
    """

    event: Literal["client_request"] = "client_request"
    client: Annotated[int, Measure("which client, from 1")]
    request: Annotated[str, Measure("its name")]
    sent_s: Annotated[float, Measure("when it was sent, since the swap request; below 0 before it", "s")]
    first_token_s: Annotated[
        float | None,
        Measure("when its first token was there, on the same clock", "s", "when not answered"),
    ] = None
    answered_s: Annotated[float | None, Measure("when it was answered", "s", "when not answered")] = None
    model: Annotated[str, Measure("who answered", empty="when not answered")] = ""
    carried: Annotated[
        bool | None, Measure("whether the old engine had taken it, and handed it over to the new one")
    ] = False
    outcome: Annotated[
        Literal["answered", "refused", "lost", "failed", "stalled"],
        Measure(
            "`answered`, `refused`, `failed`, `stalled` (no end a minute after a server's swap), or "
            "`lost`: taken, and never to be answered, which fails the swap"
        ),
    ]
    longest_gap_s: Annotated[
        float | None, Measure("the longest that a stream from a server was silent", "s", "in others")
    ] = None
    error: Annotated[str, Measure("how it failed", empty="when it did not")] = ""


class MemorySample(SwapEvent):
    """The ledgers at `t_s` since the worker's clock began, for the timeline.

    The parent looks on from outside too: a worker that is stuck, or holds Python's lock, takes no samples.
    It sees no ledger of MLX's, and sums up the worker with all its children.
    """

    event: Literal["memory_sample"] = "memory_sample"
    t_s: Annotated[
        float,
        Measure(
            "since the worker's clock began; a resumed run has a new worker, whose clock begins again", "s"
        ),
    ]
    ledgers: Annotated[
        Reading, Ledgers("{}_bytes", Measure("as in phases.csv", "B", "where there is no such ledger"))
    ]
    swap_used_bytes: Annotated[
        int | None,
        Measure("swap in use on the machine", "B", f"{_NO_COUNTER}, and from the parent"),
    ] = None
    swap_out_bytes: Annotated[
        int | None,
        Measure(
            "written to the machine's swap since it was started", "B", f"{_NO_COUNTER}, and from the parent"
        ),
    ] = None
    observer: Annotated[
        Literal["worker", "parent"],
        Measure(
            "who looked: `worker`, or `parent`, which sees no ledger of MLX's and counts the worker's "
            "children in"
        ),
    ] = "worker"


_KEY_IN_SWAPS: Final = ("turn", "warmup", "from_model", "to_model")
SWAPS: Final = RunTable("swaps.csv", SwapFinished)
PHASES: Final = RunTable("phases.csv", PhaseMeasured, without=("turn",))
MEMORY: Final = RunTable("memory.csv", MemorySample, without=_KEY_IN_SWAPS)
# Runs without clients that went on sending have no such table.
REQUESTS: Final = RunTable("requests.csv", ClientRequest, without=_KEY_IN_SWAPS)
TABLES: Final = (SWAPS, PHASES, MEMORY, REQUESTS)

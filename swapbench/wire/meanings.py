"""What each column of a run's tables means; docs/results.md shows it, made by `make docs`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from swapbench.wire.columns import MEMORY, PHASES, REQUESTS, SWAPS


@dataclass(frozen=True)
class Meaning:
    """One row of the documentation: columns that mean the same, their unit, and when they are empty."""

    columns: str
    unit: str
    meaning: str
    empty: str

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, one by one."""
        return tuple(self.columns.split())


_UNSETTLED: Final = "when the swap failed for good, or its worker was lost"

PHASES_MEANINGS: Final = (
    Meaning("run_id", "", "the run", "never"),
    Meaning("round", "", "round, from 0; warm-up rounds come first", "never"),
    Meaning("warmup", "true, false", "whether the round is a warm-up, and so in no statistic", "never"),
    Meaning("scenario", "", "name of the scenario", "never"),
    Meaning("strategy", "", "how the phases were carried out", "never"),
    Meaning(
        "rank",
        "",
        "which process of a sharded target measured it; 0 for targets of one process",
        "in the rows of all ranks together, see [below](#ranks)",
    ),
    Meaning("from_model to_model", "", "the model before and after the swap", "never"),
    Meaning(
        "phase",
        "",
        (
            "drain, evict, shutdown, unload, load, reconfigure, update_tag, reinit; or "
            "first_token; or whole, a swap that was seen from outside"
        ),
        "never",
    ),
    Meaning(
        "span",
        "",
        (
            "the part of the phase: build, read, tokenizer of load; write and write/*agent* of evict; "
            "of sharded targets look, build, tokenizer, read, barrier, skew"
        ),
        "for the whole phase",
    ),
    Meaning("start_s", "s", "since the swap was asked for", "in transcribed runs"),
    Meaning("seconds", "s", "how long it took", "never"),
    Meaning(
        "mlx_active_before_bytes mlx_active_after_bytes",
        "B",
        "MLX's active memory",
        "where there is no such ledger",
    ),
    Meaning("mlx_cache_before_bytes mlx_cache_after_bytes", "B", "MLX's pool of freed buffers", "as above"),
    Meaning(
        "footprint_before_bytes footprint_after_bytes",
        "B",
        (
            "what the system would kill the process for: `phys_footprint` on macOS; anonymous, "
            "shared and swapped-out pages on Linux"
        ),
        "as above, and for spans",
    ),
    Meaning(
        "system_available_before_bytes system_available_after_bytes",
        "B",
        "memory available on the machine",
        "as above, and for spans",
    ),
    Meaning("mlx_peak_bytes", "B", "MLX's peak within the phase", "for spans"),
    Meaning("minor_faults major_faults", "", "page faults within", "where the system does not tell"),
    Meaning("disk_read_bytes", "B", "bytes read from disk within", "where the system does not tell"),
    Meaning(
        "file_backed_before_bytes file_backed_after_bytes",
        "B",
        (
            "resident pages of files that the process has mapped: the system takes them back "
            "whenever it likes, so they are in no footprint"
        ),
        "on macOS, and for spans",
    ),
    Meaning(
        "system_wired_before_bytes system_wired_after_bytes",
        "B",
        ("memory of the machine that can't be moved or compressed, the GPU's among it"),
        "on Linux, and for spans",
    ),
    Meaning(
        "system_compressed_before_bytes system_compressed_after_bytes",
        "B",
        "memory that the machine's compressor takes",
        "on Linux, and for spans",
    ),
    Meaning("arm", "", "in runs that compare two things: `A` or `B`", "in others"),
    Meaning(
        "weight_bytes",
        "B",
        "of the new model, what this rank holds after load; all ranks together in their row",
        "but for load of sharded targets",
    ),
)

SWAPS_MEANINGS: Final = (
    Meaning("run_id round warmup scenario strategy from_model to_model", "", "as in phases.csv", "never"),
    Meaning(
        "total_s",
        "s",
        (
            "from the request to the end of the last phase; of a server seen from outside, what "
            "docs/targets.md#what-a-black-box-shows says"
        ),
        ("when the swap failed; of a server, when the same request took as long hot"),
    ),
    Meaning(
        "unattributed_s",
        "s",
        "what of the total is in no phase; phases + this = total",
        "when the swap failed, or was seen from outside",
    ),
    Meaning(
        "first_token_s",
        "s",
        "from asking the new model, right after the swap, to its first token",
        "when not asked for, or failed",
    ),
    Meaning(
        "to_first_token_s",
        "s",
        "from the swap request to the first token: the headline",
        "when not asked for, or failed",
    ),
    Meaning("loaded_bytes", "B", "size of the new checkpoint's weights", "when not reached"),
    Meaning("load_gb_per_s", "10⁹ B/s", "loaded bytes over the load phase", "when not reached"),
    Meaning(
        "resident_before",
        "0 to 1",
        ("share of the checkpoint in the page cache right before load, by mincore"),
        "when it can't be told",
    ),
    Meaning(
        "valid", "true, false", "false when the residency contradicts the label, or the swap failed", "never"
    ),
    Meaning("invalid_reason", "", "why it is not valid", "when it is, or failed"),
    Meaning(
        "drained_requests",
        "",
        "requests in flight that ended within the drain phase",
        ("in transcribed runs, and, as all that no client sees, on servers seen from outside"),
    ),
    Meaning(
        "carried_requests",
        "",
        "requests carried over to the new model at the drain deadline",
        "in transcribed runs",
    ),
    Meaning("evicted_caches", "", "agents' KV caches saved to disk and freed", "in transcribed runs"),
    Meaning("evicted_bytes", "B", "bytes written for them", "in transcribed runs"),
    Meaning(
        "status",
        "",
        (
            "`ok`; `refused`: known to fail, and refused before anything was touched; "
            "`rolled_back`: failed, and the old model serves again; `failed`: failed, and it does "
            "not, in the same worker at least"
        ),
        "never",
    ),
    Meaning("error", "", "what went wrong, in one line", "when nothing did"),
    Meaning(
        "failed_phase",
        "",
        "the phase it went wrong in, the first of several",
        "when nothing did, or outside the phases",
    ),
    Meaning(
        "rollback_s",
        "s",
        (
            "from the failure until the old model answered a real request again, in a new worker "
            "where the old one was lost"
        ),
        "when not rolled back",
    ),
    Meaning(
        "answered_requests",
        "",
        ("requests of the workload that were answered in the end, by either model"),
        "in transcribed runs",
    ),
    Meaning(
        "start_s",
        "s",
        ("when the swap was asked for, on the worker's clock; the same zero as `t_s` in memory.csv"),
        "when it never was",
    ),
    Meaning(
        "probe_s",
        "s",
        "the observer's own cost within the swap, a part of `unattributed_s`",
        "when the swap failed",
    ),
    Meaning("settle_s", "s", "how long the ledgers took to settle after the swap", _UNSETTLED),
    Meaning(
        (
            "settled_mlx_active_bytes settled_mlx_cache_bytes settled_footprint_bytes "
            "settled_system_available_bytes"
        ),
        "B",
        "the ledgers then: the leak verdict rests on these",
        _UNSETTLED,
    ),
    Meaning(
        ("settled_file_backed_bytes settled_system_wired_bytes settled_system_compressed_bytes"),
        "B",
        "what is beside the ledgers, then",
        f"as in phases.csv, or {_UNSETTLED}",
    ),
    Meaning(
        "position",
        "",
        (
            "how many swaps the worker had carried out before: the first loads of a process "
            "differ from later ones"
        ),
        "in older runs, as all that follow",
    ),
    Meaning(
        "release_settle_s",
        "s",
        "from the end of unload until the ledgers stood still",
        "without `settle_after_unload`",
    ),
    Meaning(
        (
            "released_mlx_active_bytes released_mlx_cache_bytes released_footprint_bytes "
            "released_system_available_bytes released_file_backed_bytes "
            "released_system_wired_bytes released_system_compressed_bytes"
        ),
        "B",
        "the ledgers then",
        "likewise",
    ),
    Meaning(
        "second_first_token_s",
        "s",
        ("time to first token of a second request, after all others were answered"),
        "when not asked for, or failed",
    ),
    Meaning(
        "steady_tokens_per_s", "tokens/s", "the rate of that request's tokens after the first", "likewise"
    ),
    Meaning(
        "verified_tokens",
        "",
        (
            "tokens that were the same as a fresh process's; of a server, pieces of text as when "
            "the model was first served in the run"
        ),
        "when not verified",
    ),
    Meaning("kv_capacity_bytes", "B", "room for KV caches under the new model", "when not reached"),
    Meaning(
        "longest_stall_s",
        "s",
        ("the longest that a health check, asked every 20 ms, waited during swap and first token"),
        "when the swap failed, or the check itself went wrong, which a note tells",
    ),
    Meaning(
        "prefilled_tokens prefill_s",
        ", s",
        ("tokens computed into agents' caches under the old model before the swap, and how long that took"),
        "where caches were not prefilled",
    ),
    Meaning(
        "restored_caches restored_tokens restored_bytes restore_s",
        ", , B, s",
        (
            "agents' caches of the new model, evicted when it last went, read back after the "
            "swap, and how long that took"
        ),
        "`restore_s` where there were none",
    ),
    Meaning("fault", "", "the kind of fault that the experiment asked for", "when it asked for none"),
    Meaning(
        "readable_caches",
        "",
        "agents' caches of the old model that can be read after the failure",
        "when the swap was ok, the old model did not come back, or a server was seen from outside",
    ),
    Meaning("broken_caches", "", "files that bear a cache's name and can't be read", "likewise"),
    Meaning(
        "sent_requests refused_requests lost_requests",
        "",
        (
            "of clients that went on sending: requests, those that were refused, and those that "
            "nobody will answer"
        ),
        "never; 0 without clients",
    ),
    Meaning(
        "longest_wait_s", "s", "the longest that one of them waited for a first token", "without clients"
    ),
    Meaning(
        "loader",
        "",
        ("what brought the weights: `stock`, `reuse`, `fill`, `slab`, `direct`, `map`"),
        "when not reached",
    ),
    Meaning(
        "loader_why", "", "what `auto` picked and why, and what was fallen back from", "when it was as asked"
    ),
    Meaning(
        "ahead_bytes",
        "B",
        "of the weights, what was there already when the old model was gone",
        "never; 0 without read-ahead",
    ),
    Meaning("arm", "", "in runs that compare two things: `A` or `B`", "in others"),
    Meaning(
        "turn",
        "",
        ("which turn of the run, from 0: what one worker carried out; the order of arms and strategies"),
        "in older runs",
    ),
    Meaning(
        "kept_bytes",
        "B",
        "memory that the process keeps when no model is loaded: a slab, and what malloc has not given back",
        "on servers seen from outside",
    ),
    Meaning(
        "to_first_byte_s",
        "s",
        ("from the swap request to the head of the answer, where asking a server swaps"),
        "elsewhere",
    ),
    Meaning(
        "failed_requests stalled_requests",
        "",
        (
            "of the requests in flight on a server: those that broke off, and those that had no "
            "end a minute after the swap"
        ),
        "without a server seen from outside",
    ),
    Meaning(
        "reported_load_s",
        "s",
        ("what the server says that its load took; what that means is in its preset"),
        "where it says nothing",
    ),
    Meaning("reported_memory_bytes", "B", "what it says that its model takes", "likewise"),
    Meaning(
        "recovery",
        "",
        (
            "by what the old model answered again after the swap failed: `itself`; `swap`, after another "
            "swap; `restart`, of its process"
        ),
        "when not rolled back",
    ),
    Meaning(
        "restarts",
        "",
        "how often swapbench had to start the server again, from the swap's preparation to its end",
        "of targets other than servers that it starts",
    ),
    Meaning(
        "fresh_footprint_bytes",
        "B",
        "of the new model: the process footprint of a server that had been started on it and had no other",
        "likewise, and when the swap failed",
    ),
    Meaning(
        "energy_j",
        "J",
        "energy that the whole machine used from the swap request to the first token, where asked for, else "
        "to the swap's end; see [measuring.md](measuring.md#energy)",
        "when not reached; of sharded targets and of servers elsewhere; where the machine does not tell, or "
        "only of longer times",
    ),
    Meaning(
        "idle_w",
        "W",
        "power that it used while the ledgers settled after the swap, the new model resident and idle",
        "likewise, and when the swap failed",
    ),
)

MEMORY_MEANINGS: Final = (
    Meaning("run_id", "", "the run", "never"),
    Meaning("round", "", "the round that is going on", "never"),
    Meaning("scenario", "", "the scenario that is going on", "between swaps"),
    Meaning(
        "t_s",
        "s",
        ("since the worker's clock began; a resumed run has a new worker, whose clock begins again"),
        "never",
    ),
    Meaning(
        ("mlx_active_bytes mlx_cache_bytes footprint_bytes system_available_bytes"),
        "B",
        "as in phases.csv",
        "where there is no such ledger",
    ),
    Meaning(
        "swap_used_bytes",
        "B",
        "swap in use on the machine",
        "where the system does not tell, and from the parent",
    ),
    Meaning(
        "file_backed_bytes system_wired_bytes system_compressed_bytes", "B", "as in phases.csv", "as there"
    ),
    Meaning(
        "swap_out_bytes", "B", "written to the machine's swap since it was started", "as `swap_used_bytes`"
    ),
    Meaning(
        "observer",
        "",
        (
            "who looked: `worker`, or `parent`, which sees no ledger of MLX's and counts the "
            "worker's children in"
        ),
        "in runs from before there were two",
    ),
    Meaning("strategy", "", "the worker's strategy", "in runs from before there were several"),
    Meaning("arm", "", "as in phases.csv", "as there"),
)

REQUESTS_MEANINGS: Final = (
    Meaning("run_id round scenario", "", "as in swaps.csv", "never"),
    Meaning("client", "", "which client, from 1", "never"),
    Meaning("request", "", "its name", "never"),
    Meaning("sent_s", "s", "when it was sent, since the swap request; below 0 before it", "never"),
    Meaning("first_token_s", "s", "when its first token was there, on the same clock", "when not answered"),
    Meaning("answered_s", "s", "when it was answered", "likewise"),
    Meaning("model", "", "who answered", "likewise"),
    Meaning(
        "carried",
        "true, false",
        "whether the old engine had taken it, and handed it over to the new one",
        "never",
    ),
    Meaning(
        "outcome",
        "",
        (
            "`answered`, `refused`, `failed`, `stalled` (no end a minute after a server's swap), "
            "or `lost`: taken, and never to be answered, which fails the swap"
        ),
        "never",
    ),
    Meaning("longest_gap_s", "s", "the longest that a stream from a server was silent", "in others"),
    Meaning("error", "", "how it failed", "when it did not"),
    Meaning("strategy arm", "", "as in swaps.csv", "in older runs; `arm` as there"),
)

MEANINGS: Final[Mapping[str, tuple[Meaning, ...]]] = {
    PHASES.file: PHASES_MEANINGS,
    SWAPS.file: SWAPS_MEANINGS,
    MEMORY.file: MEMORY_MEANINGS,
    REQUESTS.file: REQUESTS_MEANINGS,
}

"""The columns of the tables in a run's folder, in order; meanings.py says what each of them is."""

from dataclasses import dataclass
from typing import Final

from swapbench.base.phases import ALL_LEDGERS, BESIDE_LEDGERS, LEDGERS


@dataclass(frozen=True)
class Columns:
    """A table: what every run has (`first`), and what newer ones have after it (`added`)."""

    file: str
    first: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which they are written."""
        return self.first + self.added


def settled_column(ledger: str) -> str:
    """Where swaps.csv has a ledger's bytes after everything has settled."""
    return f"settled_{ledger}_bytes"


def released_column(ledger: str) -> str:
    """Where swaps.csv has a ledger's bytes once memory has settled after unload."""
    return f"released_{ledger}_bytes"


def _around(ledgers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{ledger}_{side}_bytes" for ledger in ledgers for side in ("before", "after"))


PHASES: Final = Columns(
    "phases.csv",
    (
        *("run_id", "round", "warmup", "scenario", "strategy", "rank", "from_model", "to_model"),
        *("phase", "span", "start_s", "seconds"),
        *_around(LEDGERS),
        *("mlx_peak_bytes", "minor_faults", "major_faults", "disk_read_bytes"),
    ),
    (*_around(BESIDE_LEDGERS), "arm", "weight_bytes"),
)

SWAPS: Final = Columns(
    "swaps.csv",
    (
        *("run_id", "round", "warmup", "scenario", "strategy", "from_model", "to_model"),
        *("total_s", "unattributed_s", "first_token_s", "to_first_token_s", "loaded_bytes"),
        *("load_gb_per_s", "resident_before", "valid", "invalid_reason", "drained_requests"),
        *("carried_requests", "evicted_caches", "evicted_bytes", "status", "error"),
        *("failed_phase", "rollback_s", "answered_requests", "start_s", "probe_s", "settle_s"),
        *(settled_column(ledger) for ledger in LEDGERS),
    ),
    (
        *(settled_column(ledger) for ledger in BESIDE_LEDGERS),
        *("position", "release_settle_s"),
        *(released_column(ledger) for ledger in ALL_LEDGERS),
        *("second_first_token_s", "steady_tokens_per_s", "verified_tokens", "kv_capacity_bytes"),
        *("longest_stall_s", "prefilled_tokens", "prefill_s"),
        *("restored_caches", "restored_tokens", "restored_bytes", "restore_s"),
        *("sent_requests", "refused_requests", "lost_requests", "longest_wait_s"),
        *("fault", "readable_caches", "broken_caches"),
        *("loader", "loader_why", "ahead_bytes", "kept_bytes"),
        *("arm", "turn"),
        *("to_first_byte_s", "failed_requests", "stalled_requests"),
        *("reported_load_s", "reported_memory_bytes", "recovery", "restarts"),
        *("fresh_footprint_bytes", "energy_j", "idle_w"),
    ),
)

MEMORY: Final = Columns(
    "memory.csv",
    (
        *("run_id", "round", "scenario", "t_s"),
        *(f"{ledger}_bytes" for ledger in LEDGERS),
        "swap_used_bytes",
    ),
    (*(f"{ledger}_bytes" for ledger in BESIDE_LEDGERS), "swap_out_bytes", "observer", "strategy", "arm"),
)

# Runs without clients that went on sending, and older ones, have no such table.
REQUESTS: Final = Columns(
    "requests.csv",
    (
        *("run_id", "round", "scenario", "client", "request", "sent_s", "first_token_s", "answered_s"),
        *("model", "carried", "outcome"),
    ),
    ("strategy", "arm", "longest_gap_s", "error"),
)

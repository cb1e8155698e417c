"""Beside the phases: what clients wait, what a server tells of itself, what the new model answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from swapbench.base.phases import WHOLE, Phase
from swapbench.findings.swaps import Swap, estimated, estimates
from swapbench.stats.estimate import Estimate, estimate
from swapbench.store.tables import Row


@dataclass(frozen=True)
class ClientsFelt:
    """The requests of one scenario's swaps but warm-up, failed ones too. Numbers are sums over swaps; waits
    are to first token, of those that count. From outside nobody sees what was carried over, refused or lost.
    `longest_stall` is, by swap, the longest time between the swap request and the first answer by the new
    model in which no client got a first token or an answer."""

    scenario: str
    sent: int
    answered_by_old: int
    answered_by_new: int
    carried: int | None
    refused: int | None
    lost: int | None
    failed: int
    stalled: int
    wait_before: Estimate | None
    wait_during: Estimate | None
    wait_after: Estimate | None
    longest_stall: Estimate | None

    @property
    def unanswered(self) -> int:
        """Requests that nobody answered, for whatever reason but that they were refused."""
        return (self.lost or 0) + self.failed + self.stalled


def clients_felt(scenario: str, swaps: Sequence[Swap], requests: Sequence[Row]) -> ClientsFelt | None:
    """The clients' view of a scenario; None where none sent."""
    by_round: dict[int, list[Row]] = {}
    for row in requests:
        if row["scenario"] == scenario:
            by_round.setdefault(int(row["round"]), []).append(row)
    parts = [(swap, by_round[swap.round]) for swap in swaps if swap.round in by_round and not swap.warmup]
    rows = [(swap, row) for swap, part in parts for row in part]
    if not rows:
        return None
    waits: dict[str, list[float]] = {"wait_before": [], "wait_during": [], "wait_after": []}
    for swap, row in rows:
        if row["outcome"] == "answered" and swap.counted:
            lasts_s = swap.figures.get("to_first_token_s", 0.0) if swap.total_s is None else swap.total_s
            when = "before" if row["sent_s"] < 0 else "during" if row["sent_s"] < lasts_s else "after"
            waits[f"wait_{when}"].append(row["first_token_s"] - row["sent_s"])
    outcomes = [row["outcome"] for _, row in rows]
    inside = not any(swap.from_outside for swap, _ in parts)
    return ClientsFelt(
        scenario=scenario,
        sent=len(rows),
        answered_by_old=sum(row["model"] == swap.from_model for swap, row in rows),
        answered_by_new=sum(row["model"] == swap.to_model for swap, row in rows),
        carried=sum(bool(row["carried"]) for _, row in rows) if inside else None,
        refused=outcomes.count("refused") if inside else None,
        lost=outcomes.count("lost") if inside else None,
        failed=outcomes.count("failed"),
        stalled=outcomes.count("stalled"),
        longest_stall=estimate(_longest_stall(swap, part) for swap, part in parts if swap.counted),
        **{name: estimate(seconds) for name, seconds in waits.items()},
    )


def _longest_stall(swap: Swap, requests: Sequence[Row]) -> float | None:
    answered = [row for row in requests if row["outcome"] == "answered"]
    first_s = [row["first_token_s"] for row in answered if row["model"] == swap.to_model]
    end_s: float = min((at_s for at_s in first_s if not math.isnan(at_s)), default=math.nan)
    if math.isnan(end_s):
        return None
    heard = {row[column] for row in answered for column in ("first_token_s", "answered_s")}
    moments: list[float] = [0.0, *sorted(at_s for at_s in heard if 0 < at_s < end_s), end_s]
    return max(later - earlier for earlier, later in pairwise(moments))


@dataclass(frozen=True)
class Outside:
    """The counted swaps of one scenario, as a client and the operating system see them. `unreported` is what
    the client felt beyond what the server says that its load took: swap request to first token (to the end of
    the call, where one swaps), less `reported_load`."""

    first_byte: Estimate | None
    reported_load: Estimate | None
    unreported: Estimate | None
    reported_memory: Estimate | None
    disk_read_bytes: Estimate | None
    in_flight: Estimate | None
    failed_requests: Estimate | None
    stalled_requests: Estimate | None


def outside_of(swaps: Sequence[Swap]) -> Outside | None:
    """None where phases were measured, or nothing was."""
    seen = [swap for swap in swaps if swap.counted and swap.from_outside]
    if not seen:
        return None
    flown = ("answered_requests", "failed_requests", "stalled_requests")
    # Without a request in flight, nothing is told of them.
    flying = seen if any(swap.figures.get(name) for swap in seen for name in flown) else []
    spans = [(swap.phases[WHOLE].seconds, swap.figures.get("reported_load_s")) for swap in seen]
    return Outside(
        first_byte=estimated(seen, "to_first_byte_s"),
        unreported=estimate(felt - told for felt, told in spans if felt is not None and told is not None),
        reported_memory=estimated(seen, "reported_memory_bytes"),
        disk_read_bytes=estimate(swap.phases[WHOLE].disk_read_bytes for swap in seen),
        in_flight=estimate(sum(swap.figures.get(name, 0.0) for name in flown) for swap in flying),
        **estimates(seen, "reported_load"),
        **estimates(flying, "failed_requests", "stalled_requests"),
    )


# Of the model, what a process may have kept for what load adds to it to be told.
_KEPT_SHARE: Final = 0.05


@dataclass(frozen=True)
class Proof:
    """The new model of one scenario, asked after its swaps. `resident_bytes` is what load added to the
    process, its mapped files included: less than the checkpoint means that reading is put off; None where it
    went into memory that the process had kept. A `second_first_token` much shorter than the first means that
    the first token paid for something that load should have."""

    resident_bytes: Estimate | None
    second_first_token: Estimate | None
    steady_tokens_per_s: Estimate | None
    verified_tokens: Estimate | None
    longest_stall: Estimate | None
    kv_capacity_bytes: Estimate | None


def proof_of(counted: Sequence[Swap]) -> Proof:
    """What the counted swaps of a scenario prove."""

    def resident(swap: Swap) -> float | None:
        load = swap.phases.get(Phase.LOAD)
        if load is None or "footprint" not in load.before or "footprint" not in load.after:
            return None
        # A load into memory that the process had kept adds nothing to it, and tells nothing.
        kept = swap.figures.get("kept_bytes", 0.0) - load.before.get("mlx_active", 0.0)
        if kept > _KEPT_SHARE * swap.figures.get("loaded_bytes", 0.0):
            return None
        ledgers = ("footprint", "file_backed")
        return sum(load.after.get(ledger, 0.0) - load.before.get(ledger, 0.0) for ledger in ledgers)

    asked = ("second_first_token", "steady_tokens_per_s", "verified_tokens", "longest_stall")
    return Proof(estimate(map(resident, counted)), **estimates(counted, *asked, "kv_capacity_bytes"))


@dataclass(frozen=True)
class Restores:
    """The agents' KV caches of one model: brought back, against computing them again. How large they are, and
    how long that took, is not known of every server."""

    model: str
    caches: Estimate
    bytes: Estimate | None
    seconds: Estimate | None
    gb_per_s: Estimate | None
    tokens_per_s: Estimate | None
    prefill_tokens_per_s: Estimate | None

    @property
    def factor(self) -> float | None:
        """How many times faster restoring is than prefilling."""
        if self.tokens_per_s is None or self.prefill_tokens_per_s is None:
            return None
        return self.tokens_per_s.point / self.prefill_tokens_per_s.point


def restores_of(swaps: Sequence[Swap]) -> tuple[Restores, ...]:
    """For each model that agents came back to, in the order in which it was first served."""

    def rate(swaps: Sequence[Swap], amount: str, seconds: str, unit: float = 1.0) -> Estimate | None:
        figures = [(swap.figures.get(amount), swap.figures.get(seconds)) for swap in swaps]
        return estimate(
            total / lasted_s / unit for total, lasted_s in figures if total is not None and lasted_s
        )

    returned: dict[str, list[Swap]] = {}
    for swap in swaps:
        if swap.counted and swap.figures.get("restored_caches"):
            returned.setdefault(swap.to_model, []).append(swap)
    found = []
    for model, its in returned.items():
        caches = estimated(its, "restored_caches")
        assert caches is not None
        fills = [s for s in swaps if s.counted and s.from_model == model and s.figures.get("prefill_s")]
        found.append(
            Restores(
                model=model,
                caches=caches,
                bytes=estimated(its, "restored_bytes"),
                seconds=estimated(its, "restore_s"),
                gb_per_s=rate(its, "restored_bytes", "restore_s", 1e9),
                tokens_per_s=rate(its, "restored_tokens", "restore_s"),
                prefill_tokens_per_s=rate(fills, "prefilled_tokens", "prefill_s"),
            )
        )
    return tuple(found)

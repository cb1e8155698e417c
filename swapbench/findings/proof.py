"""What the new model is worth after a swap: loaded is not ready, and ready is not right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from swapbench.base.phases import Phase
from swapbench.findings.swaps import Swap
from swapbench.stats.estimate import Estimate, estimate

# Of the model, what a process may have kept for what load adds to it to be told.
_KEPT_SHARE: Final = 0.05


@dataclass(frozen=True)
class Proof:
    """The new model of one scenario, asked after its swaps.

    `resident_bytes` is what load added to the process, its mapped files included: less than the
    checkpoint means that reading is put off; None where it went into memory that the process had kept. A
    `second_first_token` much shorter than the first means that the first token paid for something that load
    should have.
    """

    resident_bytes: Estimate | None
    second_first_token: Estimate | None
    steady_tokens_per_s: Estimate | None
    verified_tokens: Estimate | None
    longest_stall: Estimate | None
    kv_capacity_bytes: Estimate | None


@dataclass(frozen=True)
class Restores:
    """The agents' KV caches of one model: brought back, against computing them again.

    How large they are, and how long that took, is not known of every server.
    """

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


def proof_of(counted: Sequence[Swap]) -> Proof:
    """What the counted swaps of a scenario prove."""

    def figure(name: str) -> Estimate | None:
        return estimate(swap.figures.get(name) for swap in counted)

    return Proof(
        resident_bytes=estimate(_resident(swap) for swap in counted),
        second_first_token=figure("second_first_token_s"),
        steady_tokens_per_s=figure("steady_tokens_per_s"),
        verified_tokens=figure("verified_tokens"),
        longest_stall=figure("longest_stall_s"),
        kv_capacity_bytes=figure("kv_capacity_bytes"),
    )


def _resident(swap: Swap) -> float | None:
    load = swap.phases.get(Phase.LOAD)
    if load is None or "footprint" not in load.before or "footprint" not in load.after:
        return None
    # A load into memory that the process had kept adds nothing to it, and tells nothing.
    kept = (swap.figures.get("kept_bytes") or 0.0) - load.before.get("mlx_active", 0.0)
    if kept > _KEPT_SHARE * (swap.figures.get("loaded_bytes") or 0.0):
        return None
    ledgers = ("footprint", "file_backed")
    return sum(load.after.get(ledger, 0.0) - load.before.get(ledger, 0.0) for ledger in ledgers)


def restores_of(swaps: Sequence[Swap]) -> tuple[Restores, ...]:
    """For each model that agents came back to, in the order in which it was first served."""
    counted = [swap for swap in swaps if swap.counted]
    models = dict.fromkeys(swap.to_model for swap in counted if swap.figures.get("restored_caches"))
    return tuple(_restores(model, counted) for model in models)


def _restores(model: str, counted: Sequence[Swap]) -> Restores:
    returns = [s.figures for s in counted if s.to_model == model and s.figures.get("restored_caches")]
    fills = [s.figures for s in counted if s.from_model == model and s.figures.get("prefill_s")]
    caches, size, seconds = (
        estimate(figures.get(name) for figures in returns)
        for name in ("restored_caches", "restored_bytes", "restore_s")
    )
    assert caches is not None
    return Restores(
        model=model,
        caches=caches,
        bytes=size,
        seconds=seconds,
        gb_per_s=estimate(_per(f.get("restored_bytes"), f.get("restore_s"), 1e9) for f in returns),
        tokens_per_s=estimate(_per(f.get("restored_tokens"), f.get("restore_s")) for f in returns),
        prefill_tokens_per_s=estimate(_per(f.get("prefilled_tokens"), f.get("prefill_s")) for f in fills),
    )


def _per(amount: float | None, seconds: float | None, unit: float = 1.0) -> float | None:
    return amount / seconds / unit if amount is not None and seconds else None

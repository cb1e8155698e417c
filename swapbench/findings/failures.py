"""What failed swaps cost: until the old model answers again, and in what state memory and caches are then."""

from collections.abc import Sequence
from dataclasses import dataclass

from swapbench.findings.swaps import Swap


@dataclass(frozen=True)
class Failure:
    """A swap that failed or was refused, and what was left; `recovery` is by what the old model answers.

    `back_s` is how long until the old model answered a real request; None where it did not in the same
    worker, 0 where nothing had been touched. `growth_bytes` is settled memory by ledger, less what there
    was before the swap.
    """

    round: int
    scenario: str
    fault: str
    status: str
    recovery: str
    back_s: float | None
    readable_caches: float | None
    broken_caches: float | None
    mlx_growth_bytes: float | None
    footprint_growth_bytes: float | None


def failures_of(swaps: Sequence[Swap]) -> tuple[Failure, ...]:
    """Every failed swap, in order."""
    return tuple(_failure(swap) for swap in swaps if swap.status != "ok")


def _failure(swap: Swap) -> Failure:
    return Failure(
        round=swap.round,
        scenario=swap.scenario,
        fault=swap.fault,
        status=swap.status,
        recovery="itself" if swap.status == "refused" else swap.recovery,
        back_s=0.0 if swap.status == "refused" else swap.figures.get("rollback_s"),
        readable_caches=swap.figures.get("readable_caches"),
        broken_caches=swap.figures.get("broken_caches"),
        mlx_growth_bytes=_growth(swap, "mlx_active"),
        footprint_growth_bytes=_growth(swap, "footprint"),
    )


def _growth(swap: Swap, ledger: str) -> float | None:
    first = next(iter(swap.phases.values()), None)
    if first is None or ledger not in first.before or ledger not in swap.settled:
        return None
    return swap.settled[ledger] - first.before[ledger]

"""What each rank of a sharded target did: how long it worked and waited, and what it holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from swapbench.base.phases import BARRIER, FIRST_TOKEN, SKEW, Phase
from swapbench.findings.swaps import Measured, RankRows, Swap
from swapbench.stats.estimate import Estimate, estimate


@dataclass(frozen=True)
class RankSummary:
    """One rank over one scenario's swaps.

    `load` is its own work, without waiting for the others; `barrier` what it waited in all phases. `weights`
    are the bytes of the new model that it holds, `footprint` what its process weighs after load, `disk_read`
    what load brought from disk.
    """

    rank: int
    load: Estimate | None
    barrier: Estimate | None
    first_token: Estimate | None
    weights: Estimate | None
    footprint: Estimate | None
    disk_read: Estimate | None


@dataclass(frozen=True)
class Sharing:
    """The ranks of one scenario, and how much longer than the fastest the slowest one worked in load."""

    scenario: str
    skew: Estimate | None
    ranks: tuple[RankSummary, ...]


def sharing_of(scenario: str, swaps: Sequence[Swap]) -> Sharing | None:
    """The ranks over the counted swaps of a scenario; None where no rank was told apart."""
    counted = [swap for swap in swaps if swap.counted]
    numbers = sorted({rank for swap in counted for rank in swap.ranks})
    if not numbers:
        return None
    skews = (swap.spans.get(f"{Phase.LOAD}/{SKEW}") for swap in counted)
    ranks = ([swap.ranks[rank] for swap in counted if rank in swap.ranks] for rank in numbers)
    return Sharing(
        scenario=scenario,
        skew=estimate(skew.seconds if skew else None for skew in skews),
        ranks=tuple(_rank(number, rows) for number, rows in zip(numbers, ranks, strict=True)),
    )


def _rank(number: int, swaps: Sequence[RankRows]) -> RankSummary:
    loads = [rows.phases.get(Phase.LOAD) for rows in swaps]
    return RankSummary(
        rank=number,
        load=estimate(_own_work_s(rows) for rows in swaps),
        barrier=estimate(_waited_s(rows) for rows in swaps),
        first_token=estimate(_seconds(rows.phases.get(FIRST_TOKEN)) for rows in swaps),
        weights=estimate(load.weight_bytes if load else None for load in loads),
        footprint=estimate(load.after.get("footprint") if load else None for load in loads),
        disk_read=estimate(load.disk_read_bytes if load else None for load in loads),
    )


def _own_work_s(rows: RankRows) -> float | None:
    load_s = _seconds(rows.phases.get(Phase.LOAD))
    waited_s = _seconds(rows.spans.get(f"{Phase.LOAD}/{BARRIER}"))
    return None if load_s is None else load_s - (waited_s or 0.0)


def _waited_s(rows: RankRows) -> float | None:
    waits = [_seconds(row) for span, row in rows.spans.items() if span.endswith(f"/{BARRIER}")]
    return math.fsum(wait or 0.0 for wait in waits) if waits else None


def _seconds(measured: Measured | None) -> float | None:
    return measured.seconds if measured else None

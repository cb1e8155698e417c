"""What can be known of swaps that were seen from outside a server, where no phase shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from swapbench.base.phases import WHOLE
from swapbench.findings.swaps import Swap
from swapbench.stats.estimate import Estimate, estimate


@dataclass(frozen=True)
class Outside:
    """The counted swaps of one scenario, as a client and the operating system see them.

    `unreported` is what the client felt beyond what the server says that its load took: swap request to first
    token (to the end of the call, where one swaps), less `reported_load`.
    """

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

    def figure(name: str) -> Estimate | None:
        return estimate(swap.figures.get(name) for swap in seen)

    flown = ("answered_requests", "failed_requests", "stalled_requests")
    busy = any(swap.figures.get(name) for swap in seen for name in flown)
    return Outside(
        first_byte=figure("to_first_byte_s"),
        reported_load=figure("reported_load_s"),
        unreported=estimate(_unreported(swap) for swap in seen),
        reported_memory=figure("reported_memory_bytes"),
        disk_read_bytes=estimate(swap.phases[WHOLE].disk_read_bytes for swap in seen),
        in_flight=estimate(sum(swap.figures.get(name, 0.0) for name in flown) for swap in seen)
        if busy
        else None,
        failed_requests=figure("failed_requests") if busy else None,
        stalled_requests=figure("stalled_requests") if busy else None,
    )


def _unreported(swap: Swap) -> float | None:
    felt_s, reported_s = swap.phases[WHOLE].seconds, swap.figures.get("reported_load_s")
    return None if felt_s is None or reported_s is None else felt_s - reported_s

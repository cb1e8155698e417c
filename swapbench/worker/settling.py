"""When memory has come to rest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from swapbench.machine.energy import Look
from swapbench.wire.events import Reading
from swapbench.worker.meter import Meter

_STEP_S = 0.01
_STEPS = 5
_AT_MOST_S = 2.0
_TOLERANCE_BYTES = 256 << 10


@dataclass(frozen=True)
class Settled:
    """The ledgers once they stood still, and how long that took: until the first reading that stayed.

    `watts` are what the machine used meanwhile.
    """

    seconds: float
    ledgers: Reading
    watts: float | None = None


def settle(meter: Meter) -> Settled:
    """Read the ledgers every 10 ms until they have stood still for 40 ms, or two seconds have passed."""
    before = meter.energy.look()
    begun_s = meter.now_s()
    recent: list[tuple[float, Reading]] = []
    while True:
        now_s = meter.now_s() - begun_s
        recent = [*recent[-_STEPS + 1 :], (now_s, meter.read())]
        if len(recent) == _STEPS and _still([reading for _, reading in recent]):
            return _settled(meter, *recent[0], before)
        if now_s >= _AT_MOST_S:
            return _settled(meter, *recent[-1], before)
        time.sleep(_STEP_S)


def _settled(meter: Meter, seconds: float, ledgers: Reading, before: Look | None) -> Settled:
    """With the machine's ledgers of this moment: what they say in passing may be a second old."""
    used = meter.energy.since(before)
    exact = meter.read(exact=True)
    machine = {name: getattr(exact, name) for name in type(exact).model_fields if name.startswith("system_")}
    return Settled(seconds, ledgers.model_copy(update=machine), used.watts if used else None)


def _still(readings: Sequence[Reading]) -> bool:
    """Whether no ledger of this process moved by more than the tolerance."""
    for ledger in ("mlx_active_bytes", "mlx_cache_bytes", "footprint_bytes"):
        values = [getattr(reading, ledger) or 0 for reading in readings]
        if max(values) - min(values) > _TOLERANCE_BYTES:
            return False
    return True

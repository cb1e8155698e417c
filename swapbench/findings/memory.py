"""Where memory goes during a swap: before, at its most, after, and what unloading did not give back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swapbench.base.phases import ALL_LEDGERS, LEDGERS, PHASES, WHOLE, Phase
from swapbench.findings.swaps import COUNTS_DOWN, Swap
from swapbench.stats.estimate import Estimate, estimate
from swapbench.wire.events import Reading


@dataclass(frozen=True)
class LedgerSummary:
    """One ledger over one scenario's swaps, in bytes.

    `peak` is the most in use; for system_available the least available. `overlap` is how much the peak is
    above the larger of before and after: what was held of the old and the new model at once. `not_reclaimed`
    is what is in use after unload, once settled where that was waited for, beyond what the worker held
    before its first model. `returned` is what unload gave back.
    """

    ledger: str
    before: Estimate | None
    peak: Estimate | None
    after_unload: Estimate | None
    after: Estimate | None
    overlap: Estimate | None
    returned: Estimate | None
    not_reclaimed: Estimate | None

    @property
    def recorded(self) -> bool:
        """Whether this machine has such a ledger at all."""
        return self.before is not None or self.after is not None


@dataclass(frozen=True)
class ScenarioMemory:
    """The ledgers of one scenario."""

    scenario: str
    old_model_bytes: int | None
    release_settle: Estimate | None
    ledgers: tuple[LedgerSummary, ...]


def baseline_of(reading: Reading) -> dict[str, float]:
    """The ledgers of a reading that were recorded, by name."""
    recorded = {ledger: getattr(reading, f"{ledger}_bytes") for ledger in ALL_LEDGERS}
    return {ledger: float(value) for ledger, value in recorded.items() if value is not None}


def memory_of(
    scenario: str, swaps: Sequence[Swap], baseline: Mapping[str, float], old_model_bytes: int | None
) -> ScenarioMemory:
    """The ledgers over the counted swaps of a scenario; `baseline` is the worker without any model."""
    counted = [swap for swap in swaps if swap.counted]
    ledgers = (_ledger(ledger, counted, baseline.get(ledger)) for ledger in ALL_LEDGERS)
    shown = tuple(summary for summary in ledgers if summary.ledger in LEDGERS or summary.recorded)
    settle = estimate(swap.figures.get("release_settle_s") for swap in counted)
    return ScenarioMemory(scenario, old_model_bytes, settle, shown)


def _ledger(ledger: str, swaps: Sequence[Swap], baseline: float | None) -> LedgerSummary:
    # More available is less in use: this turns both kinds of ledger into growth of what is in use.
    sign = -1 if ledger == COUNTS_DOWN else 1
    unloaded = [swap.released.get(ledger, _after(swap, Phase.UNLOAD, ledger)) for swap in swaps]
    loaded = [_before(swap, Phase.UNLOAD, ledger) for swap in swaps]
    return LedgerSummary(
        ledger=ledger,
        before=estimate(_at_start(swap, ledger) for swap in swaps),
        peak=estimate(_peak(swap, ledger) for swap in swaps),
        after_unload=estimate(unloaded),
        after=estimate(_at_end(swap, ledger) for swap in swaps),
        overlap=estimate(_overlap(swap, ledger, sign) for swap in swaps),
        returned=estimate(_minus(old, new, sign) for old, new in zip(loaded, unloaded, strict=True)),
        not_reclaimed=estimate(_minus(new, baseline, sign) for new in unloaded),
    )


def _before(swap: Swap, phase: str, ledger: str) -> float | None:
    return swap.phases[phase].before.get(ledger) if phase in swap.phases else None


def _after(swap: Swap, phase: str, ledger: str) -> float | None:
    return swap.phases[phase].after.get(ledger) if phase in swap.phases else None


def _at_start(swap: Swap, ledger: str) -> float | None:
    return next((_before(swap, phase, ledger) for phase in (*PHASES, WHOLE) if phase in swap.phases), None)


def _at_end(swap: Swap, ledger: str) -> float | None:
    parts = (*reversed(PHASES), WHOLE)
    return next((_after(swap, phase, ledger) for phase in parts if phase in swap.phases), None)


def _peak(swap: Swap, ledger: str) -> float | None:
    """The extreme among the readings around phases, the samples between them, and MLX's own peak."""
    readings: list[float | None] = [swap.extremes.get(ledger)]
    for measured in swap.phases.values():
        readings += [measured.before.get(ledger), measured.after.get(ledger)]
        if ledger == "mlx_active":
            readings.append(measured.mlx_peak_bytes)
    return _most(readings, lowest=ledger == COUNTS_DOWN)


def _overlap(swap: Swap, ledger: str, sign: int) -> float | None:
    peak, before, after = _peak(swap, ledger), _at_start(swap, ledger), _at_end(swap, ledger)
    if peak is None or before is None or after is None:
        return None
    return sign * peak - max(sign * before, sign * after)


def _most(readings: Iterable[float | None], lowest: bool) -> float | None:
    recorded = [reading for reading in readings if reading is not None]
    if not recorded:
        return None
    return min(recorded) if lowest else max(recorded)


def _minus(left: float | None, right: float | None, sign: int) -> float | None:
    return None if left is None or right is None else sign * (left - right)

"""What went wrong: failed swaps and what they cost, and known faults told by their traces in the figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from swapbench.base import figures
from swapbench.base.phases import LEDGER_LABELS, WHOLE, Phase
from swapbench.findings.swaps import Swap, estimated
from swapbench.spec.strategy import LOADERS
from swapbench.stats.estimate import estimate


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
    return tuple(
        Failure(
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
        for swap in swaps
        if swap.status != "ok"
    )


def _growth(swap: Swap, ledger: str) -> float | None:
    first = next(iter(swap.phases.values()), None)
    if first is None or ledger not in first.before or ledger not in swap.settled:
        return None
    return swap.settled[ledger] - first.before[ledger]


# A ledger that holds this share of a model after unload holds the model.
_HOLDS_MODEL: Final = 0.9
# MLX counts to the byte. Of a process, allocators and libraries keep some tens of megabytes whatever happens,
# among which a mini model can't be seen.
_LEAST_MODEL_BYTES: Final = {"mlx_active": 1 << 20, "footprint": 64 << 20}

_KEPT_SHARE: Final = 0.25
_LEAST_KEPT_BYTES: Final = 128 << 20

# Of what a fresh server takes: caches of prompts and buffers differ by less.
_BEYOND_FRESH: Final = 0.25

# Whole blocks fit a budget nearly, not quite.
_BUDGET_DRIFT: Final = 0.05

# A health check that waits longer is, to whoever asks, a server that is down.
_STALL_S: Final = 1.0
_STALL_SHARE: Final = 0.5

_FAILURES_IN_A_ROW: Final = 3


@dataclass(frozen=True)
class Symptom:
    """A named fault, and what speaks for it."""

    kind: str
    text: str


def find_symptoms(
    swaps: Sequence[Swap], baseline: Mapping[str, float], weight_bytes: Mapping[str, int]
) -> tuple[Symptom, ...]:
    """Every fault that shows; `baseline` is the worker without a model, `weight_bytes` the models' sizes."""
    counted = [swap for swap in swaps if swap.counted]
    return (
        *_boot_model_kept(counted, baseline, weight_bytes),
        *_never_freed(counted),
        *_allocator_keeps(counted, baseline, weight_bytes),
        *_budget_drifts(counted),
        *_stalls(counted),
        *_wedged(swaps),
    )


def _unloaded(swap: Swap, ledger: str, baseline: Mapping[str, float]) -> float | None:
    """What a ledger holds after unload beyond the worker without a model."""
    measured = swap.phases.get(Phase.UNLOAD)
    after = swap.released.get(ledger)
    if after is None and measured is not None:
        after = measured.after.get(ledger)
    return None if after is None or ledger not in baseline else after - baseline[ledger]


def _boot_model_kept(
    counted: Sequence[Swap], baseline: Mapping[str, float], weight_bytes: Mapping[str, int]
) -> Iterator[Symptom]:
    """The first model stays alive for ever, and every later one is freed."""
    counted = [
        swap for swap in counted if swap.loader not in LOADERS or not LOADERS[swap.loader].keeps_memory
    ]
    if len(counted) < 2:
        return
    boot = counted[0].from_model
    size = weight_bytes.get(boot, 0)
    for ledger, least in _LEAST_MODEL_BYTES.items():
        held = [_unloaded(swap, ledger, baseline) for swap in counted]
        known = [value for value in held if value is not None]
        if not known:
            continue
        # Where MLX can be asked, it knows: what the process keeps beyond that is malloc's.
        if size < least:
            return
        # As much as the first model each time, and no more: what grows is a leak, and judged as one.
        if min(known) >= _HOLDS_MODEL * size and max(known) < (2 - _HOLDS_MODEL) * size + min(known):
            yield Symptom(
                "boot model kept",
                f"after every unload {LEDGER_LABELS[ledger]} still holds {figures.memory(min(known))}, as "
                f"much as {boot} ({figures.memory(size)}): the process's first model is never freed",
            )
        return


def _never_freed(counted: Sequence[Swap]) -> Iterator[Symptom]:
    """Back on a model, a server holds more than one that never had another."""
    for model in dict.fromkeys(swap.to_model for swap in counted):
        its = [swap for swap in counted if swap.to_model == model]
        held = estimate(swap.settled.get("footprint") for swap in its)
        fresh = estimated(its, "fresh_footprint_bytes")
        if held is None or fresh is None:
            continue
        beyond = held.point - fresh.point
        if beyond >= max(_LEAST_MODEL_BYTES["footprint"], _BEYOND_FRESH * fresh.point):
            yield Symptom(
                "earlier model kept",
                f"the server's processes hold {figures.memory(held.point)} with {model}, and "
                f"{figures.memory(fresh.point)} freshly started on it: {figures.memory(beyond)} stay, of a "
                "model that was loaded before or of what came with it",
            )


def _allocator_keeps(
    counted: Sequence[Swap], baseline: Mapping[str, float], weight_bytes: Mapping[str, int]
) -> Iterator[Symptom]:
    """MLX has given the model back, and the process has not."""
    for model in dict.fromkeys(swap.from_model for swap in counted):
        leaving = [swap for swap in counted if swap.from_model == model]
        kept = estimate(_unstated(swap, baseline) for swap in leaving)
        if kept is None:
            continue
        if kept.point >= max(_LEAST_KEPT_BYTES, _KEPT_SHARE * weight_bytes.get(model, 0)):
            yield Symptom(
                "allocator keeps memory",
                f"after {model} is unloaded the process keeps {figures.memory(kept.point)} that no counter "
                "of MLX's shows: its C allocator, or something outside MLX, holds it, and the next load may "
                "be fast because of it",
            )


def _unstated(swap: Swap, baseline: Mapping[str, float]) -> float | None:
    """What the process keeps after unload that neither MLX counts nor the strategy says that it keeps."""
    ours, mlx = (_unloaded(swap, ledger, baseline) for ledger in ("footprint", "mlx_active"))
    if ours is None or mlx is None:
        return None
    # A slab is MLX's, too; the rest of what is kept is what malloc was left with.
    stated = max(0.0, (swap.figures.get("kept_bytes") or 0.0) - mlx)
    return ours - mlx - (_unloaded(swap, "mlx_cache", baseline) or 0.0) - stated


def _budget_drifts(counted: Sequence[Swap]) -> Iterator[Symptom]:
    """Room for KV caches falls from swap to swap, or differs in bytes from model to model."""
    found: dict[str, list[float]] = {}
    for swap in counted:
        if (room := swap.figures.get("kv_capacity_bytes")) is not None:
            found.setdefault(swap.to_model, []).append(room)
    for model, rooms in found.items():
        if rooms[-1] < (1 - _BUDGET_DRIFT) * rooms[0]:
            yield Symptom(
                "KV budget drifts",
                f"{figures.memory(rooms[0])} for KV caches under {model} at first, "
                f"{figures.memory(rooms[-1])} after {figures.counted(len(rooms), 'swap')} to it: it falls",
            )
            return
    known = {model: median(rooms) for model, rooms in found.items()}
    if not known:
        return
    least, most = min(known, key=lambda m: known[m]), max(known, key=lambda m: known[m])
    if known[least] < (1 - _BUDGET_DRIFT) * known[most]:
        yield Symptom(
            "KV budget drifts",
            f"{figures.memory(known[most])} for KV caches under {most}, {figures.memory(known[least])} under "
            f"{least}: the budget is not kept in bytes",
        )


def _stalls(counted: Sequence[Swap]) -> Iterator[Symptom]:
    """The process answers nobody while it swaps."""
    for scenario in dict.fromkeys(swap.scenario for swap in counted):
        its = [swap for swap in counted if swap.scenario == scenario]
        stall = estimated(its, "longest_stall_s")
        total = estimate(swap.phase_s(WHOLE) if swap.from_outside else swap.total_s for swap in its)
        if stall is None or total is None:
            continue
        if stall.point >= max(_STALL_S, _STALL_SHARE * total.point):
            yield Symptom(
                "health checks stall",
                f"{scenario}: a health check waits {figures.seconds(stall.point)} of the swap's "
                f"{figures.seconds(total.point)}: nothing else in the process runs meanwhile",
            )


def _wedged(swaps: Sequence[Swap]) -> Iterator[Symptom]:
    """After one failure nothing succeeds any more; each strategy has workers of its own."""
    for strategy in dict.fromkeys(swap.strategy for swap in swaps):
        # A swap that was refused never began.
        tried = [swap for swap in swaps if swap.strategy == strategy and swap.status != "refused"]
        good = [i for i, swap in enumerate(tried) if swap.status == "ok"]
        after = tried[good[-1] + 1 :] if good else []
        if len(after) >= _FAILURES_IN_A_ROW:
            first = after[0]
            yield Symptom(
                "wedged",
                f"no swap has succeeded since {first.scenario} of round {first.round} failed: "
                f"{figures.counted(len(after), 'swap')} in a row",
            )
        restarted = [swap for swap in tried if swap.recovery == "restart"]
        if restarted:
            failed = sum(swap.status != "ok" for swap in tried)
            yield Symptom(
                "wedged",
                f"after {len(restarted)} of {figures.counted(failed, 'failed swap')} no model answered until "
                f"the process was restarted, {restarted[0].scenario} of round {restarted[0].round} first",
            )

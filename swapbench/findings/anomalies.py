"""What stands out in a run: failed swaps, signs of known faults, outliers, drift, first swaps."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from swapbench.base import figures
from swapbench.base.phases import FIRST_TOKEN, LEDGER_LABELS, PHASES, WHOLE, Phase
from swapbench.findings.swaps import Headlined, Swap, estimated, headline_figure, headlines_by_scenario
from swapbench.spec.strategy import LOADERS
from swapbench.stats.estimate import Estimate, Series, estimate, theil_sen


@dataclass(frozen=True)
class Failure:
    """A swap that failed or was refused, and what was left; `recovery` is by what the old model answers.
    `back_s` is how long until the old model answered a real request; None where it did not in the same
    worker, 0 where nothing had been touched. `growth_bytes` is settled memory by ledger, less what there was
    before the swap."""

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

    def growth(swap: Swap, ledger: str) -> float | None:
        first = next(iter(swap.phases.values()), None)
        if first is None or ledger not in first.before or ledger not in swap.settled:
            return None
        return swap.settled[ledger] - first.before[ledger]

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
            mlx_growth_bytes=growth(swap, "mlx_active"),
            footprint_growth_bytes=growth(swap, "footprint"),
        )
        for swap in swaps
        if swap.status != "ok"
    )


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
    found = {
        "boot model kept": _boot_model_kept(counted, baseline, weight_bytes),
        "earlier model kept": _never_freed(counted),
        "allocator keeps memory": _allocator_keeps(counted, baseline, weight_bytes),
        "KV budget drifts": _budget_drifts(counted),
        "health checks stall": _stalls(counted),
        "wedged": _wedged(swaps),
    }
    return tuple(Symptom(kind, text) for kind, texts in found.items() for text in texts)


def _grouped(swaps: Iterable[Swap], by: str) -> dict[str, list[Swap]]:
    groups: dict[str, list[Swap]] = {}
    for swap in swaps:
        groups.setdefault(getattr(swap, by), []).append(swap)
    return groups


def _unloaded(swap: Swap, ledger: str, baseline: Mapping[str, float]) -> float | None:
    """What a ledger holds after unload beyond the worker without a model."""
    measured = swap.phases.get(Phase.UNLOAD)
    after = swap.released.get(ledger, measured.after.get(ledger) if measured else None)
    return None if after is None or ledger not in baseline else after - baseline[ledger]


def _boot_model_kept(
    counted: Sequence[Swap], baseline: Mapping[str, float], weight_bytes: Mapping[str, int]
) -> Iterator[str]:
    """The first model stays alive for ever, and every later one is freed."""
    counted = [
        swap for swap in counted if swap.loader not in LOADERS or not LOADERS[swap.loader].keeps_memory
    ]
    if len(counted) < 2:
        return
    boot = counted[0].from_model
    size = weight_bytes.get(boot, 0)
    held = {
        ledger: [value for swap in counted if (value := _unloaded(swap, ledger, baseline)) is not None]
        for ledger in _LEAST_MODEL_BYTES
    }
    # Where MLX can be asked, it knows: what the process keeps beyond that is malloc's.
    ledger = next((ledger for ledger, values in held.items() if values), None)
    if ledger is None or size < _LEAST_MODEL_BYTES[ledger]:
        return
    least, most = min(held[ledger]), max(held[ledger])
    # As much as the first model each time, and no more: what grows is a leak, and judged as one.
    if least >= _HOLDS_MODEL * size and most < (2 - _HOLDS_MODEL) * size + least:
        yield (
            f"after every unload {LEDGER_LABELS[ledger]} still holds {figures.memory(least)}, as much as "
            f"{boot} ({figures.memory(size)}): the process's first model is never freed"
        )


def _never_freed(counted: Sequence[Swap]) -> Iterator[str]:
    """Back on a model, a server holds more than one that never had another."""
    for model, its in _grouped(counted, "to_model").items():
        held = estimate(swap.settled.get("footprint") for swap in its)
        fresh = estimated(its, "fresh_footprint_bytes")
        beyond = held.point - fresh.point if held and fresh else 0.0
        if held and fresh and beyond >= max(_LEAST_MODEL_BYTES["footprint"], _BEYOND_FRESH * fresh.point):
            yield (
                f"the server's processes hold {figures.memory(held.point)} with {model}, and "
                f"{figures.memory(fresh.point)} freshly started on it: {figures.memory(beyond)} stay, of a "
                "model that was loaded before or of what came with it"
            )


def _allocator_keeps(
    counted: Sequence[Swap], baseline: Mapping[str, float], weight_bytes: Mapping[str, int]
) -> Iterator[str]:
    """MLX has given the model back, and the process has not."""

    def unstated(swap: Swap) -> float | None:
        """What the process keeps after unload that neither MLX counts nor the strategy says that it keeps."""
        ours, mlx = (_unloaded(swap, ledger, baseline) for ledger in ("footprint", "mlx_active"))
        if ours is None or mlx is None:
            return None
        # A slab is MLX's, too; the rest of what is kept is what malloc was left with.
        stated = max(0.0, (swap.figures.get("kept_bytes") or 0.0) - mlx)
        return ours - mlx - (_unloaded(swap, "mlx_cache", baseline) or 0.0) - stated

    for model, leaving in _grouped(counted, "from_model").items():
        kept = estimate(map(unstated, leaving))
        if kept and kept.point >= max(_LEAST_KEPT_BYTES, _KEPT_SHARE * weight_bytes.get(model, 0)):
            yield (
                f"after {model} is unloaded the process keeps {figures.memory(kept.point)} that no counter "
                "of MLX's shows: its C allocator, or something outside MLX, holds it, and the next load may "
                "be fast because of it"
            )


def _budget_drifts(counted: Sequence[Swap]) -> Iterator[str]:
    """Room for KV caches falls from swap to swap, or differs in bytes from model to model."""
    having = (swap for swap in counted if "kv_capacity_bytes" in swap.figures)
    rooms_of = {
        model: [swap.figures["kv_capacity_bytes"] for swap in its]
        for model, its in _grouped(having, "to_model").items()
    }
    for model, rooms in rooms_of.items():
        if rooms[-1] < (1 - _BUDGET_DRIFT) * rooms[0]:
            yield (
                f"{figures.memory(rooms[0])} for KV caches under {model} at first, "
                f"{figures.memory(rooms[-1])} after {figures.counted(len(rooms), 'swap')} to it: it falls"
            )
            return
    room_of = {model: median(rooms) for model, rooms in rooms_of.items()}
    least, most = (pick(room_of, key=room_of.__getitem__, default="") for pick in (min, max))
    if room_of and room_of[least] < (1 - _BUDGET_DRIFT) * room_of[most]:
        yield (
            f"{figures.memory(room_of[most])} for KV caches under {most}, {figures.memory(room_of[least])} "
            f"under {least}: the budget is not kept in bytes"
        )


def _stalls(counted: Sequence[Swap]) -> Iterator[str]:
    """The process answers nobody while it swaps."""
    for scenario, its in _grouped(counted, "scenario").items():
        stall = estimated(its, "longest_stall_s")
        total = estimate(swap.phase_s(WHOLE) if swap.from_outside else swap.total_s for swap in its)
        if stall and total and stall.point >= max(_STALL_S, _STALL_SHARE * total.point):
            yield (
                f"{scenario}: a health check waits {figures.seconds(stall.point)} of the swap's "
                f"{figures.seconds(total.point)}: nothing else in the process runs meanwhile"
            )


def _wedged(swaps: Sequence[Swap]) -> Iterator[str]:
    """After one failure nothing succeeds any more; each strategy has workers of its own."""
    # A swap that was refused never began.
    for tried in _grouped((swap for swap in swaps if swap.status != "refused"), "strategy").values():
        good = [i for i, swap in enumerate(tried) if swap.status == "ok"]
        after = tried[good[-1] + 1 :] if good else []
        if len(after) >= _FAILURES_IN_A_ROW:
            yield (
                f"no swap has succeeded since {after[0].scenario} of round {after[0].round} failed: "
                f"{figures.counted(len(after), 'swap')} in a row"
            )
        restarted = [swap for swap in tried if swap.recovery == "restart"]
        if restarted:
            failed = figures.counted(len(tried) - len(good), "failed swap")
            yield (
                f"after {len(restarted)} of {failed} no model answered until the process was restarted, "
                f"{restarted[0].scenario} of round {restarted[0].round} first"
            )


# Of fewer values nobody can say which one is the odd one.
_ENOUGH: Final = 6

_SPREADS: Final = 5.0

# Of values spread normally, the median absolute deviation is this part of the standard deviation.
_MAD_OF_NORMAL: Final = 0.6744897501960817

# Clocks and schedulers alone make swaps differ by this, and equal ones have no spread at all.
_LEAST_SPREAD: Final = 0.02


@dataclass(frozen=True)
class Outlier:
    """A swap that stands out: `times` its scenario's median, mostly because of one phase. `phase` is the one
    that exceeds its own median most (falls below it most, in a swap that was too fast), by `phase_excess_s`;
    empty where no phase was measured. `first` is as in `Headlined`."""

    scenario: str
    round: int
    seconds: float
    median_s: float
    times: float
    phase: str
    phase_excess_s: float
    first: bool


def find_outliers(swaps: Sequence[Swap]) -> tuple[Outlier, ...]:
    """The counted swaps that stand out from their scenario's, the farthest out first; none below 6 swaps.

    The rule: on the logarithm of the headline figure, farther from the median than five robust standard
    deviations (median absolute deviation / 0.6745). The deviation is taken for 2 % at the least, so that
    nearly equal swaps don't flag each other: nothing within a tenth of the median is flagged. Of swaps with
    nothing wrong and normal logarithms it flags 1.2 % at n = 6, 0.4 % at 10 and 0.1 % at 20; where the time
    has an exponential tail, 3 %, 2 % and 1 %.
    """
    found: list[tuple[float, Outlier]] = []
    for scenario, its in headlines_by_scenario(swaps).items():
        if len(its) < _ENOUGH:
            continue
        logs = [math.log(one.seconds) for one in its]
        middle, median_s = median(logs), median(one.seconds for one in its)
        spread = max(median(abs(log - middle) for log in logs) / _MAD_OF_NORMAL, _LEAST_SPREAD)
        for one, log in zip(its, logs, strict=True):
            if abs(log - middle) > _SPREADS * spread:
                times = one.seconds / median_s
                reason = _reason(one.swap, [other.swap for other in its], slower=one.seconds > median_s)
                stands_out = Outlier(
                    scenario, one.swap.round, one.seconds, median_s, times, *reason, first=one.first
                )
                found.append((abs(log - middle) / spread, stands_out))
    return tuple(outlier for _, outlier in sorted(found, key=lambda entry: -entry[0]))


def _reason(swap: Swap, counted: Sequence[Swap], slower: bool) -> tuple[str, float]:
    """The part of the swap that is farthest from its own median, in the direction of the whole."""
    ends_at_token = headline_figure(counted) == "to_first_token"

    def parts(swap: Swap) -> Mapping[str, float]:
        found = {str(phase): swap.phase_s(phase) for phase in PHASES}
        found["unattributed"] = swap.figures.get("unattributed_s")
        if ends_at_token:
            found[FIRST_TOKEN] = swap.figures.get("first_token_s")
        return {part: seconds for part, seconds in found.items() if seconds is not None}

    usual = list(map(parts, counted))
    excess = {
        part: seconds - median(others[part] for others in usual if part in others)
        for part, seconds in parts(swap).items()
    }
    part = (max if slower else min)(excess, key=excess.__getitem__, default="")
    return part, excess.get(part, 0.0)


# Less than this between two rounds changes nobody's mind.
_WORTH_A_WORD: Final = 0.02

DriftOutcome = Literal["slower", "faster", "none found", "not tested"]


@dataclass(frozen=True)
class Drift:
    """How the headline changes from the first to the last round, as a share of it: 0.1 is a tenth slower.
    `low` and `high` are its 95 % interval. Where it holds 0, no drift is found, and one as large as its ends
    can hide. Not tested is what has too few rounds for an interval."""

    outcome: DriftOutcome
    change: float | None
    low: float | None
    high: float | None
    rounds: int


def find_drift(swaps: Sequence[Swap]) -> Drift:
    """The drift of a run's counted swaps over its rounds, all scenarios together.

    Each swap's logarithm is taken against its scenario's median; a round is the median of its swaps. So what
    a whole round has in common, as a machine that is busy for a while, counts once: pooling the scenarios'
    own slopes instead finds a drift in one run in seven that has none. Over the rounds, the Theil-Sen slope
    with Sen's interval. The first swap of a scenario in a worker process is left out, as it would look like a
    run that gets faster.
    """
    workers: dict[int, list[list[Headlined]]] = {}
    for scenario in headlines_by_scenario(swaps).values():
        later = [one for one in scenario if not one.first]
        for worker in dict.fromkeys(one.swap.worker for one in later):
            workers.setdefault(worker, []).append([one for one in later if one.swap.worker == worker])
    series = [_by_round(scenarios) for scenarios in workers.values()]
    rounds = sorted({number for numbers, _ in series for number in numbers})
    slope = theil_sen(series)
    if slope is None or math.isinf(slope.low) or math.isinf(slope.high):
        return Drift("not tested", None, None, None, len(rounds))
    outcome: DriftOutcome = "slower" if slope.low > 0 else "faster" if slope.high < 0 else "none found"
    # What slopes of logarithms come to, within what a float can hold.
    low, point, high = (
        math.expm1(min(per_round * (rounds[-1] - rounds[0]), 100.0))
        for per_round in (slope.low, slope.point, slope.high)
    )
    return Drift(outcome, point, low, high, len(rounds))


def _by_round(scenarios: Sequence[Sequence[Headlined]]) -> Series:
    """The median of each round's swaps, each of them against its scenario's median."""
    rounds: dict[int, list[float]] = {}
    for scenario in scenarios:
        middle = median(math.log(one.seconds) for one in scenario)
        for one in scenario:
            rounds.setdefault(one.swap.round, []).append(math.log(one.seconds) - middle)
    return [float(number) for number in sorted(rounds)], [median(rounds[number]) for number in sorted(rounds)]


def drift_advice(drift: Drift) -> Iterator[str]:
    """What to do about a drift that is large enough to matter."""
    if drift.change is None or abs(drift.change) < _WORTH_A_WORD:
        return
    if drift.outcome == "slower":
        yield (
            f"swaps get {figures.change(drift.change)} slower while the run goes on: the machine heats up, "
            "or something else has begun to run (`swapbench doctor`); compare only what ran interleaved"
        )
    elif drift.outcome == "faster":
        yield (
            f"swaps get {figures.change(-drift.change)} faster while the run goes on: something else ran at "
            "first, or caches still filled (more warm-up rounds); compare only what ran interleaved"
        )


# Fewer have hardly a range that a first swap could lie outside of.
_ENOUGH_LATER: Final = 5

_VISIBLE: Final = 1.1


@dataclass(frozen=True)
class FirstSwaps:
    """The headline of first swaps and of later ones; `times` is the first ones' median over the later ones'.
    `differ` where that is a tenth or more either way, and outside all of at least five later swaps."""

    scenario: str
    first: Estimate
    later: Estimate
    times: float
    differ: bool


def first_swaps(swaps: Sequence[Swap]) -> Iterator[FirstSwaps]:
    """For each scenario whose counted swaps are neither all first ones nor all later ones."""
    for scenario, its in headlines_by_scenario(swaps).items():
        others = [one.seconds for one in its if not one.first]
        first, later = estimate(one.seconds for one in its if one.first), estimate(others)
        if first and later:
            times = first.point / later.point
            outside = not min(others) <= first.point <= max(others)
            differ = outside and max(times, 1 / times) >= _VISIBLE and len(others) >= _ENOUGH_LATER
            yield FirstSwaps(scenario, first, later, times, differ)

"""Memory during swaps and across them: before, peak, after, what unloading gave back, and leaks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, Literal

from swapbench.base.figures import counted, memory
from swapbench.base.phases import ALL_LEDGERS, LEDGERS, PHASES, WHOLE, Phase
from swapbench.findings.swaps import COUNTS_DOWN, Swap
from swapbench.stats.estimate import Estimate, Series, Slope, estimate, theil_sen, thinned
from swapbench.wire.swap import Reading


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
    recorded = [reading for reading in readings if reading is not None]
    return (min if ledger == COUNTS_DOWN else max)(recorded, default=None)


def _overlap(swap: Swap, ledger: str, sign: int) -> float | None:
    peak, before, after = _peak(swap, ledger), _at_start(swap, ledger), _at_end(swap, ledger)
    if peak is None or before is None or after is None:
        return None
    return sign * peak - max(sign * before, sign * after)


def _minus(left: float | None, right: float | None, sign: int) -> float | None:
    return None if left is None or right is None else sign * (left - right)


# First-time costs (compiled kernels, allocator pools, lazy imports) look like leaks.
WARMUP_SWAPS: Final = 3

# In the usual scatter so many more settle whether there is a leak; fewer often can't.
ENOUGH_SWAPS: Final = 20

# How much is available on the machine depends on everything else that runs there: shown, not judged.
# Nor is what is compressed or wired: until somebody has seen on a Mac that these hold still, too.
JUDGED: Final = ("mlx_active", "mlx_cache", "footprint", "file_backed")

# A leak goes on: its second half grows at least by this share of the whole run's slope.
_STEADY: Final = 0.5

LeakOutcome = Literal["leak", "clean", "inconclusive", "not measurable", "not judged"]


@dataclass(frozen=True)
class LeakFinding:
    """The verdict on one ledger, in bytes per swap. `one_off_bytes` is growth that no slope explains.

    `rounds_wanted` is how many rounds usually decide it.
    """

    ledger: str
    outcome: LeakOutcome
    reason: str
    rounds: int
    rounds_wanted: int
    slope: Slope | None
    one_off_bytes: float | None


def undecided(rounds: int, wanted: int) -> str:
    """`not decided by 3 rounds, about 12 needed`."""
    more = f", about {wanted} needed" if rounds < wanted else ""
    return f"not decided by {counted(rounds, 'round')}{more}"


def find_leaks(swaps: Sequence[Swap], tolerance_bytes: int) -> tuple[LeakFinding, ...]:
    """A verdict for each ledger, from what it had settled to after each swap."""
    judged_on = considered(swaps)
    scenarios = len({swap.scenario for swap in swaps})
    rounds = len({swap.round for swap in swaps if swap.counted})
    wanted = math.ceil((WARMUP_SWAPS + ENOUGH_SWAPS) / max(1, scenarios))
    seen = {ledger for swap in swaps for ledger in swap.settled}
    series = {
        ledger: _series(judged_on, [swap.settled.get(ledger) for swap in judged_on]) for ledger in ALL_LEDGERS
    }
    kept = theil_sen(_series(judged_on, [swap.figures.get("kept_bytes") for swap in judged_on]))
    found = (
        _judge(ledger, series[ledger], tolerance_bytes, rounds, wanted)
        for ledger in ALL_LEDGERS
        if series[ledger] or (ledger in LEDGERS and (ledger in seen or not seen))
    )
    if kept is None or kept.point <= tolerance_bytes:
        return tuple(found)
    return tuple(_beside_kept(leak, kept) if leak.ledger == "footprint" else leak for leak in found)


def _beside_kept(leak: LeakFinding, kept: Slope) -> LeakFinding:
    """What malloc keeps of freed memory may grow, in pieces too small for the next model: nobody lost it."""
    reason = (
        f"{per_swap(leak.slope.point) if leak.slope else 'its growth is not known'}; what is freed and kept "
        f"for the next model grows, too ({per_swap(kept.point)}), and can't be told from a leak: "
        "set strategy.NAME.give_back = true to know"
    )
    return replace(leak, outcome="not judged", reason=reason)


def considered(swaps: Sequence[Swap]) -> list[Swap]:
    """Counted swaps, without the first few of each worker process: what slopes rest on."""
    first_of: dict[int, int] = {}
    for swap in swaps:
        first_of.setdefault(swap.worker, swap.index)
    return [s for s in swaps if s.counted and s.index - first_of[s.worker] >= WARMUP_SWAPS]


def _series(swaps: Iterable[Swap], values: Iterable[float | None]) -> list[Series]:
    """A figure over the swap's number, by worker and scenario: the same model is resident in each."""
    groups: dict[tuple[int, str], tuple[list[float], list[float]]] = {}
    for swap, value in zip(swaps, values, strict=True):
        if value is not None:
            xs, ys = groups.setdefault((swap.worker, swap.scenario), ([], []))
            xs.append(float(swap.index))
            ys.append(value)
    return [(thinned(xs), thinned(ys)) for xs, ys in groups.values()]


def _judge(
    ledger: str, series: Sequence[Series], tolerance_bytes: int, rounds: int, wanted: int
) -> LeakFinding:
    slope = theil_sen(series)
    if slope is None:
        return LeakFinding(ledger, "not measurable", _too_few(series, rounds), rounds, wanted, None, None)
    outcome: LeakOutcome = "not judged"
    reason = f"{per_swap(slope.point)}; everything else that runs on the machine is in it"
    if ledger in JUDGED:
        outcome, reason = _verdict(slope, series, tolerance_bytes, undecided(rounds, wanted))
    return LeakFinding(ledger, outcome, reason, rounds, wanted, slope, one_off_bytes(series, slope.point))


def _too_few(series: Sequence[Series], rounds: int) -> str:
    if rounds <= 1:
        return f"not measurable from {'one round' if rounds else '0 rounds'}"
    if not series:
        return f"no settled memory was recorded after the first {WARMUP_SWAPS} swaps"
    return (
        f"not measurable from {counted(rounds, 'round')}: the first {WARMUP_SWAPS} swaps are warm-up, and "
        "one a scenario is left"
    )


def _verdict(
    slope: Slope, series: Sequence[Series], tolerance_bytes: int, if_undecided: str
) -> tuple[LeakOutcome, str]:
    found = f"{per_swap(slope.point)} ({_interval(slope)}, tolerance {memory(tolerance_bytes)})"
    if slope.high <= tolerance_bytes:
        return "clean", found
    if slope.low <= tolerance_bytes:
        return "inconclusive", f"{found}: {if_undecided}"
    late = theil_sen(_second_halves(series))
    if late is None or late.point <= max(tolerance_bytes, _STEADY * slope.point):
        # A pool that fills up grows at first as a leak does, and then slows down and stops.
        since = "" if late is None else f", but {per_swap(late.point)} in the second half"
        return "inconclusive", f"{found}{since}: growth that slows down may stop, more rounds will tell"
    return "leak", found


def per_swap(bytes_per_swap: float) -> str:
    """Growth in words, with its sign."""
    return f"{_signed(bytes_per_swap)} a swap"


def _interval(slope: Slope) -> str:
    if math.isinf(slope.low) or math.isinf(slope.high):
        return f"{counted(slope.points, 'reading')}, too few for an interval"
    return f"95 % interval {_signed(slope.low)} to {_signed(slope.high)}"


def _signed(value: float) -> str:
    sign = "-" if value < -0.5 else "+" if value > 0.5 else ""
    return f"{sign}{memory(abs(value))}"


def _second_halves(series: Sequence[Series]) -> list[Series]:
    middle = median(x for xs, _ in series for x in xs)
    halves: list[Series] = []
    for xs, ys in series:
        late = [(x, y) for x, y in zip(xs, ys, strict=True) if x >= middle]
        halves.append(([x for x, _ in late], [y for _, y in late]))
    return halves


def one_off_bytes(series: Iterable[Series], slope: float) -> float | None:
    """Growth from the first to the last point beyond what the slope explains: the median over series."""
    rests = [ys[-1] - ys[0] - slope * (xs[-1] - xs[0]) for xs, ys in series if len(ys) > 1]
    return float(median(rests)) if rests else None


def worst(findings: Iterable[LeakFinding]) -> LeakOutcome:
    """One outcome over the judged ledgers: a leak in any is a leak, clean needs all that were measured."""
    outcomes = {finding.outcome for finding in findings if finding.ledger in JUDGED}
    order: tuple[LeakOutcome, ...] = ("leak", "inconclusive", "clean", "not judged")
    return next((outcome for outcome in order if outcome in outcomes), "not measurable")


@dataclass(frozen=True)
class SettledPoint:
    """What a ledger had settled to after a swap, less what it had after the first considered one like it.

    Those like it are of the same scenario in the same worker: the same model is resident. `considered` are
    those that the slope rests on.
    """

    swap: int
    scenario: str
    bytes: float
    growth_bytes: float
    considered: bool


@dataclass(frozen=True)
class SlopeLine:
    """Ends of a line through the points, (swap, growth in bytes)."""

    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """One ledger over the run. `tolerance` has the steepest slope that is still no leak.

    `left_out` points are not among them, for there are too many.
    """

    finding: LeakFinding
    points: tuple[SettledPoint, ...]
    slope: SlopeLine
    tolerance: SlopeLine
    left_out: int = 0


def growth_of(
    swaps: Sequence[Swap], leaks: Sequence[LeakFinding], tolerance_bytes: int
) -> tuple[Growth, ...]:
    """The growth of each ledger whose slope is known."""
    found = []
    for leak in leaks:
        points = _points(swaps, leak.ledger)
        judged = [point for point in points if point.considered]
        if judged and leak.slope is not None:
            ends = float(judged[0].swap), float(judged[-1].swap)
            middle = median(point.swap for point in judged), median(point.growth_bytes for point in judged)
            slope = _through(middle, leak.slope.point, *ends)
            tolerance = _through((ends[0], 0.0), float(tolerance_bytes), *ends)
            found.append(Growth(leak, points, slope, tolerance))
    return tuple(found)


def _points(swaps: Sequence[Swap], ledger: str) -> tuple[SettledPoint, ...]:
    judged = {swap.index for swap in considered(swaps)}
    having = [swap for swap in swaps if swap.counted and ledger in swap.settled]
    origin: dict[tuple[int, str], float] = {}
    for swap in having:
        if swap.index in judged:
            origin.setdefault((swap.worker, swap.scenario), swap.settled[ledger])
    return tuple(
        SettledPoint(
            swap=swap.index,
            scenario=swap.scenario,
            bytes=swap.settled[ledger],
            growth_bytes=swap.settled[ledger] - origin[swap.worker, swap.scenario],
            considered=swap.index in judged,
        )
        for swap in having
        if (swap.worker, swap.scenario) in origin
    )


def _through(point: tuple[float, float], slope: float, first: float, last: float) -> SlopeLine:
    x, y = point
    return SlopeLine((first, y + slope * (first - x)), (last, y + slope * (last - x)))

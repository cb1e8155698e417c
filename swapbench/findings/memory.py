"""Memory during swaps and across them: before, peak, after, what unloading gave back, and leaks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from swapbench.base.figures import counted, memory
from swapbench.base.phases import ALL_LEDGERS, LEDGERS, PHASES, WHOLE, Phase
from swapbench.findings.swaps import COUNTS_DOWN, Swap, estimated
from swapbench.stats.estimate import Estimate, Series, Slope, estimate, theil_sen, thinned
from swapbench.store import RunInfo


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


def baseline_of(info: RunInfo) -> dict[str, float]:
    """What a worker weighs without a model, by ledger: the median, where there was more than one worker."""
    readings = info.baselines or ((info.worker.baseline,) if info.worker else ())
    found = {ledger: [getattr(one, f"{ledger}_bytes") for one in readings] for ledger in ALL_LEDGERS}
    known = {
        ledger: [float(value) for value in values if value is not None] for ledger, values in found.items()
    }
    return {ledger: median(values) for ledger, values in known.items() if values}


def memory_of(
    scenario: str, swaps: Sequence[Swap], baseline: Mapping[str, float], old_model_bytes: int | None
) -> ScenarioMemory:
    """The ledgers over the counted swaps of a scenario; `baseline` is the worker without any model."""
    counted = [swap for swap in swaps if swap.counted]
    ledgers = (_ledger(ledger, counted, baseline.get(ledger)) for ledger in ALL_LEDGERS)
    shown = tuple(summary for summary in ledgers if summary.ledger in LEDGERS or summary.recorded)
    return ScenarioMemory(scenario, old_model_bytes, estimated(counted, "release_settle_s"), shown)


def _ledger(ledger: str, swaps: Sequence[Swap], baseline: float | None) -> LedgerSummary:
    # More available is less in use: this turns both kinds of ledger into growth of what is in use.
    sign = -1 if ledger == COUNTS_DOWN else 1
    found: dict[str, list[float | None]] = {}
    for swap in swaps:
        parts = [swap.phases[name] for name in (*PHASES, WHOLE) if name in swap.phases]
        before, after = (parts[0].before.get(ledger), parts[-1].after.get(ledger)) if parts else (None, None)
        unload = swap.phases.get(Phase.UNLOAD)
        loaded = unload.before.get(ledger) if unload else None
        unloaded = swap.released.get(ledger, unload.after.get(ledger) if unload else None)
        # The extreme among the readings around phases, the samples between them, and MLX's own peak.
        readings = [swap.extremes.get(ledger)]
        for measured in swap.phases.values():
            readings += [measured.before.get(ledger), measured.after.get(ledger)]
            readings += [measured.mlx_peak_bytes] if ledger == "mlx_active" else []
        recorded = [reading for reading in readings if reading is not None]
        peak = (min if ledger == COUNTS_DOWN else max)(recorded, default=None)
        overlap = None
        if peak is not None and before is not None and after is not None:
            overlap = sign * peak - max(sign * before, sign * after)
        figures = {
            "before": before,
            "peak": peak,
            "after_unload": unloaded,
            "after": after,
            "overlap": overlap,
            "returned": None if loaded is None or unloaded is None else sign * (loaded - unloaded),
            "not_reclaimed": None if unloaded is None or baseline is None else sign * (unloaded - baseline),
        }
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    names = list(LedgerSummary.__dataclass_fields__)[1:]
    return LedgerSummary(ledger, **{name: estimate(found.get(name, ())) for name in names})


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
    `rounds_wanted` is how many rounds usually decide it."""

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
    kept = theil_sen(_series((swap, swap.figures.get("kept_bytes")) for swap in judged_on))
    found = []
    for ledger in ALL_LEDGERS:
        series = _series((swap, swap.settled.get(ledger)) for swap in judged_on)
        if not series and not (ledger in LEDGERS and (ledger in seen or not seen)):
            continue
        slope = theil_sen(series)
        outcome, reason = _verdict(ledger, slope, series, tolerance_bytes, rounds, undecided(rounds, wanted))
        if ledger == "footprint" and kept and kept.point > tolerance_bytes:
            # Pieces too small for the next model, that malloc keeps, may grow: nobody lost them.
            outcome = "not judged"
            reason = (
                f"{per_swap(slope.point) if slope else 'its growth is not known'}; what is freed and kept "
                f"for the next model grows, too ({per_swap(kept.point)}), and can't be told from a leak: "
                "set strategy.NAME.give_back = true to know"
            )
        rest = one_off_bytes(series, slope.point) if slope else None
        found.append(LeakFinding(ledger, outcome, reason, rounds, wanted, slope, rest))
    return tuple(found)


def considered(swaps: Sequence[Swap]) -> list[Swap]:
    """Counted swaps, without the first few of each worker process: what slopes rest on."""
    first_of: dict[int, int] = {}
    for swap in swaps:
        first_of.setdefault(swap.worker, swap.index)
    return [s for s in swaps if s.counted and s.index - first_of[s.worker] >= WARMUP_SWAPS]


def _series(values: Iterable[tuple[Swap, float | None]]) -> list[Series]:
    """A figure over the swap's number, by worker and scenario: the same model is resident in each."""
    groups: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for swap, value in values:
        if value is not None:
            groups.setdefault((swap.worker, swap.scenario), []).append((float(swap.index), value))
    return [(thinned([x for x, _ in group]), thinned([y for _, y in group])) for group in groups.values()]


def _verdict(
    ledger: str,
    slope: Slope | None,
    series: Sequence[Series],
    tolerance_bytes: int,
    rounds: int,
    if_undecided: str,
) -> tuple[LeakOutcome, str]:
    if slope is None:
        if rounds <= 1:
            return "not measurable", f"not measurable from {'one round' if rounds else '0 rounds'}"
        if not series:
            return "not measurable", f"no settled memory was recorded after the first {WARMUP_SWAPS} swaps"
        return "not measurable", (
            f"not measurable from {counted(rounds, 'round')}: the first {WARMUP_SWAPS} swaps are warm-up, "
            "and one a scenario is left"
        )
    if ledger not in JUDGED:
        return "not judged", f"{per_swap(slope.point)}; everything else that runs on the machine is in it"
    interval = f"95 % interval {_signed(slope.low)} to {_signed(slope.high)}"
    if math.isinf(slope.low) or math.isinf(slope.high):
        interval = f"{counted(slope.points, 'reading')}, too few for an interval"
    found = f"{per_swap(slope.point)} ({interval}, tolerance {memory(tolerance_bytes)})"
    if slope.high <= tolerance_bytes:
        return "clean", found
    if slope.low <= tolerance_bytes:
        return "inconclusive", f"{found}: {if_undecided}"
    middle = median(x for xs, _ in series for x in xs)
    second_halves = [[(x, y) for x, y in zip(xs, ys, strict=True) if x >= middle] for xs, ys in series]
    late = theil_sen([([x for x, _ in half], [y for _, y in half]) for half in second_halves])
    if late is None or late.point <= max(tolerance_bytes, _STEADY * slope.point):
        # A pool that fills up grows at first as a leak does, and then slows down and stops.
        since = "" if late is None else f", but {per_swap(late.point)} in the second half"
        return "inconclusive", f"{found}{since}: growth that slows down may stop, more rounds will tell"
    return "leak", found


def per_swap(bytes_per_swap: float) -> str:
    """Growth in words, with its sign."""
    return f"{_signed(bytes_per_swap)} a swap"


def _signed(value: float) -> str:
    sign = "-" if value < -0.5 else "+" if value > 0.5 else ""
    return f"{sign}{memory(abs(value))}"


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
    those that the slope rests on."""

    swap: int
    scenario: str
    bytes: float
    growth_bytes: float
    considered: bool


# Its ends: (swap, growth in bytes).
Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Growth:
    """One ledger over the run, and lines through its points; `tolerance` has the steepest slope that is still
    no leak. `left_out` points are not among them, for there are too many."""

    finding: LeakFinding
    points: tuple[SettledPoint, ...]
    slope: Line
    tolerance: Line
    left_out: int = 0


def growth_of(
    swaps: Sequence[Swap], leaks: Sequence[LeakFinding], tolerance_bytes: int
) -> tuple[Growth, ...]:
    """The growth of each ledger whose slope is known."""
    judged = {swap.index for swap in considered(swaps)}
    found = []
    for leak in leaks:
        having = [swap for swap in swaps if swap.counted and leak.ledger in swap.settled]
        origin: dict[tuple[int, str], float] = {}
        for swap in having:
            if swap.index in judged:
                origin.setdefault((swap.worker, swap.scenario), swap.settled[leak.ledger])
        points = [
            SettledPoint(
                swap.index,
                swap.scenario,
                swap.settled[leak.ledger],
                swap.settled[leak.ledger] - first,
                swap.index in judged,
            )
            for swap in having
            if (first := origin.get((swap.worker, swap.scenario))) is not None
        ]
        resting = [point for point in points if point.considered]
        if resting and leak.slope is not None:
            x, y = median(point.swap for point in resting), median(point.growth_bytes for point in resting)
            start, end = float(resting[0].swap), float(resting[-1].swap)
            slope = ((start, y + leak.slope.point * (start - x)), (end, y + leak.slope.point * (end - x)))
            tolerance = ((start, 0.0), (end, float(tolerance_bytes) * (end - start)))
            found.append(Growth(leak, tuple(points), slope, tolerance))
    return tuple(found)

"""Where the time of each scenario's swaps goes: totals, phases, the bottleneck, the workload, ranks."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from swapbench.base.phases import BARRIER, FIRST_TOKEN, PHASES, SKEW, HeadlineFigure, Phase
from swapbench.findings.serving import Outside, Proof, outside_of, proof_of
from swapbench.findings.swaps import Measured, Swap, estimated, estimates, headline_figure
from swapbench.spec.experiment import Experiment, Scenario
from swapbench.stats.estimate import Estimate, Interval, estimate, median_interval, supported_reliability

Expectation = Literal["within", "below", "above"]


@dataclass(frozen=True)
class Counts:
    """How many swaps there are, and why some are in no statistic."""

    counted: int
    warmup: int
    invalid: int
    failed: int
    rolled_back: int
    refused: int


@dataclass(frozen=True)
class PhaseSummary:
    """One phase of one scenario. `share` is the mean over swaps of its part of the total."""

    phase: str
    seconds: Estimate | None
    share: float | None
    expected_s: tuple[float, float] | None
    expectation: Expectation | None


@dataclass(frozen=True)
class SpanSummary:
    """A named part of a phase; spans may overlap, so their shares need not sum to one."""

    name: str
    seconds: Estimate
    share_of_phase: float | None


@dataclass(frozen=True)
class Bottleneck:
    """The phase that takes most of a scenario's swaps, and in how many of them it is the longest. `share` is
    the mean over swaps of its part of the headline figure, which is told beside it."""

    phase: str
    share: float
    longest_in: int
    n: int
    spans: tuple[SpanSummary, ...]
    disk_read_bytes: Estimate | None
    major_faults: Estimate | None


@dataclass(frozen=True)
class Unattributed:
    """The part of the swap that no phase accounts for, and how much of it is the observer's own cost.
    `settled_s` of that cost are its wait for memory to settle, where the experiment asks for it."""

    seconds: Estimate | None
    probe_s: Estimate | None
    settled_s: Estimate | None
    share: float | None


@dataclass(frozen=True)
class AgainstTarget:
    """The median against the target: `factor` times under it, or over it. Held against it is the total. Where
    that is not told, the headline stands in, which is longer: under the target it speaks for the total, over
    it it says nothing."""

    target_s: float
    figure: HeadlineFigure
    seconds: float
    side: Literal["under", "over"]
    factor: float
    swaps_under: int
    n: int
    reliability: float


@dataclass(frozen=True)
class WorkloadSummary:
    """What became of requests and caches, per swap."""

    drained_requests: Estimate | None
    carried_requests: Estimate | None
    answered_requests: Estimate | None
    evicted_caches: Estimate | None
    evicted_bytes: Estimate | None
    evict_gb_per_s: Estimate | None
    cache_write_s: Estimate | None
    busy: bool


@dataclass(frozen=True)
class ScenarioSummary:
    """One scenario: its counted swaps in figures. The intervals are of the medians, from 6 swaps on. What is
    told of whole swaps is told of the same ones, so that no part is longer than its whole: first tokens where
    all counted swaps have one, and beside them the total where all have that."""

    name: str
    from_model: str
    to_model: str
    counts: Counts
    headline: Estimate | None
    headline_is: HeadlineFigure
    headline_interval: Interval | None
    total: Estimate | None
    total_interval: Interval | None
    first_token: Estimate | None
    to_first_token: Estimate | None
    unattributed: Unattributed
    against_target: AgainstTarget | None
    phases: tuple[PhaseSummary, ...]
    bottleneck: Bottleneck | None
    loaded_bytes: Estimate | None
    load_gb_per_s: Estimate | None
    resident_before: Estimate | None
    settle_s: Estimate | None
    energy_j: Estimate | None
    idle_w: Estimate | None
    workload: WorkloadSummary
    proof: Proof
    outside: Outside | None


def count(swaps: Iterable[Swap]) -> Counts:
    """How many swaps are counted, and how many are not, by reason. Every swap is in exactly one group."""

    def group(swap: Swap) -> str:
        if swap.status != "ok":
            return swap.status if swap.status in ("rolled_back", "refused") else "failed"
        return "warmup" if swap.warmup else "counted" if swap.counted else "invalid"

    groups = Counter(map(group, swaps))
    return Counts(**{name: groups[name] for name in Counts.__dataclass_fields__})


def summarise(
    scenario: Scenario, swaps: Sequence[Swap], experiment: Experiment, claims: bool
) -> ScenarioSummary:
    """The figures of one scenario from its swaps. Expected ranges and the target speak of the real models;
    without `claims` nothing is held against them."""
    counted = [swap for swap in swaps if swap.counted]
    found, headline_is = headline(counted)
    by_token = headline_is == "to_first_token"
    totals = [] if by_token and any(swap.total_s is None for swap in counted) else counted
    expected = experiment.expected_s if claims else {}
    from_inside = [swap for swap in counted if not swap.from_outside]
    return ScenarioSummary(
        name=scenario.name,
        from_model=scenario.from_model,
        to_model=scenario.to_model,
        counts=count(swaps),
        headline=found,
        headline_is=headline_is,
        headline_interval=median_interval(swap.figures.get(f"{headline_is}_s") for swap in counted),
        total=estimated(totals, "total_s"),
        total_interval=median_interval(swap.total_s for swap in totals),
        # A transcribed run may have it among the phases only.
        first_token=estimated(counted, "first_token_s")
        or estimate(swap.phase_s(FIRST_TOKEN) for swap in counted),
        to_first_token=found if by_token else None,
        unattributed=Unattributed(
            seconds=estimated(counted, "unattributed_s"),
            probe_s=estimated(counted, "probe_s"),
            settled_s=estimated(counted, "release_settle_s"),
            share=_mean_share(from_inside, lambda swap: (swap.total_s or 0.0) - swap.attributed_s),
        ),
        against_target=_against_target(counted, "total" if totals else headline_is, experiment.target_s)
        if claims
        else None,
        phases=tuple(_phase(phase, counted, expected.get(phase)) for phase in PHASES),
        bottleneck=_bottleneck(counted, headline_is),
        workload=_workload(counted),
        proof=proof_of(counted),
        outside=outside_of(counted),
        **estimates(
            counted, "loaded_bytes", "load_gb_per_s", "resident_before", "settle_s", "energy_j", "idle_w"
        ),
    )


def headline(counted: Sequence[Swap]) -> tuple[Estimate | None, HeadlineFigure]:
    """Swap request to first token, where every counted swap has one; the total where not."""
    figure = headline_figure(counted)
    return estimated(counted, f"{figure}_s"), figure


def _phase(phase: Phase, swaps: Sequence[Swap], expected: tuple[float, float] | None) -> PhaseSummary:
    seconds = estimate(swap.phase_s(phase) for swap in swaps)
    expectation: Expectation | None = None
    if seconds and expected:
        least, most = expected
        expectation = "below" if seconds.point < least else "above" if seconds.point > most else "within"
    share = _mean_share(swaps, lambda swap: swap.phase_s(phase)) if seconds else None
    return PhaseSummary(phase, seconds, share, expected, expectation)


def _mean_share(
    swaps: Sequence[Swap], part_s: Callable[[Swap], float | None], whole: HeadlineFigure = "total"
) -> float | None:
    """The mean over swaps of a part's share of the whole: shares of all parts then sum to one."""
    wholes = [(swap, swap.figures.get(f"{whole}_s")) for swap in swaps]
    shares = [(part_s(swap) or 0.0) / whole_s for swap, whole_s in wholes if whole_s]
    return fmean(shares) if shares else None


def _against_target(swaps: Sequence[Swap], figure: HeadlineFigure, target_s: float) -> AgainstTarget | None:
    seconds = [value for swap in swaps if (value := swap.figures.get(f"{figure}_s")) is not None]
    held = estimate(seconds)
    if held is None or held.point <= 0:
        return None
    under = sum(value < target_s for value in seconds)
    is_under = held.point < target_s
    if figure != "total" and not is_under:
        return None
    return AgainstTarget(
        target_s=target_s,
        figure=figure,
        seconds=held.point,
        side="under" if is_under else "over",
        factor=target_s / held.point if is_under else held.point / target_s,
        swaps_under=under,
        n=held.n,
        reliability=supported_reliability(under, held.n),
    )


def _bottleneck(swaps: Sequence[Swap], whole: HeadlineFigure) -> Bottleneck | None:
    def share_of(phase: Phase) -> float:
        return _mean_share(swaps, lambda swap: swap.phase_s(phase), whole) or 0.0

    shares = {phase: share_of(phase) for phase in PHASES}
    phase = max(PHASES, key=shares.__getitem__)
    if shares[phase] == 0:
        return None
    seconds = [[swap.phase_s(name) or 0.0 for name in PHASES] for swap in swaps]
    longest = [PHASES[times.index(max(times))] for times in seconds if any(times)]
    measured = [swap.phases[phase] for swap in swaps if phase in swap.phases]
    return Bottleneck(
        phase=phase,
        share=shares[phase],
        longest_in=longest.count(phase),
        n=len(swaps),
        spans=_spans(phase, swaps),
        disk_read_bytes=estimate(m.disk_read_bytes for m in measured),
        major_faults=estimate(m.major_faults for m in measured),
    )


def _spans(phase: Phase, swaps: Sequence[Swap]) -> tuple[SpanSummary, ...]:
    """The spans of a phase in the order of their time; spans within spans (evict/write/agent) left out."""
    names = {name for swap in swaps for name in swap.spans if name.count("/") == 1}
    summaries = []
    for name in sorted(name for name in names if name.startswith(f"{phase}/")):
        pairs = [(swap.spans[name].seconds, swap.phase_s(phase)) for swap in swaps if name in swap.spans]
        if (seconds := estimate(part for part, _ in pairs)) is not None:
            shares = [part / whole for part, whole in pairs if part is not None and whole]
            summaries.append(SpanSummary(name, seconds, fmean(shares) if shares else None))
    return tuple(sorted(summaries, key=lambda span: -span.seconds.point))


def _workload(swaps: Sequence[Swap]) -> WorkloadSummary:
    names = ("drained_requests", "carried_requests", "answered_requests", "evicted_caches", "evicted_bytes")
    written = [
        (swap.figures.get("evicted_bytes"), swap.spans.get("evict/write") or swap.phases.get(Phase.EVICT))
        for swap in swaps
    ]
    caches = (part for swap in swaps for name, part in swap.spans.items() if name.startswith("evict/write/"))
    return WorkloadSummary(
        **estimates(swaps, *names),
        evict_gb_per_s=estimate(
            evicted / write.seconds / 1e9 for evicted, write in written if evicted and write and write.seconds
        ),
        cache_write_s=estimate(part.seconds for part in caches),
        busy=any(swap.figures.get(name) for swap in swaps for name in names),
    )


@dataclass(frozen=True)
class RankSummary:
    """One rank over one scenario's swaps. `load` is its own work, without waiting for the others; `barrier`
    what it waited in all phases. `weights` are the bytes of the new model that it holds, `footprint` what its
    process weighs after load, `disk_read` what load brought from disk."""

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


_UNMEASURED = Measured(None, {}, {}, None, None, None)


def sharing_of(scenario: str, swaps: Sequence[Swap]) -> Sharing | None:
    """The ranks over the counted swaps of a scenario; None where no rank was told apart."""
    counted = [swap for swap in swaps if swap.counted]
    numbers = sorted({rank for swap in counted for rank in swap.ranks})
    if not numbers:
        return None
    skews = estimate(swap.spans.get(f"{Phase.LOAD}/{SKEW}", _UNMEASURED).seconds for swap in counted)
    return Sharing(scenario, skews, tuple(_rank(number, counted) for number in numbers))


def _rank(number: int, swaps: Sequence[Swap]) -> RankSummary:
    own_s: list[float] = []
    waited_s: list[float] = []
    rows = [swap.ranks[number] for swap in swaps if number in swap.ranks]
    for row in rows:
        load_s = row.phases.get(Phase.LOAD, _UNMEASURED).seconds
        waits = {
            name: part.seconds or 0.0 for name, part in row.spans.items() if name.endswith(f"/{BARRIER}")
        }
        if load_s is not None:
            own_s.append(load_s - waits.get(f"{Phase.LOAD}/{BARRIER}", 0.0))
        if waits:
            waited_s.append(math.fsum(waits.values()))
    loads = [row.phases.get(Phase.LOAD, _UNMEASURED) for row in rows]
    return RankSummary(
        rank=number,
        load=estimate(own_s),
        barrier=estimate(waited_s),
        first_token=estimate(row.phases.get(FIRST_TOKEN, _UNMEASURED).seconds for row in rows),
        weights=estimate(load.weight_bytes for load in loads),
        footprint=estimate(load.after.get("footprint") for load in loads),
        disk_read=estimate(load.disk_read_bytes for load in loads),
    )

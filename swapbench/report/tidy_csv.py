"""The findings as tidy CSV: one row, one fact."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from swapbench.findings import Findings
from swapbench.findings.memory import LeakFinding, ScenarioMemory
from swapbench.findings.serving import ClientsFelt, Outside, Restores
from swapbench.findings.stability import Drift, FirstSwaps, Outlier
from swapbench.findings.strategies import AgainstLimit, Ladder
from swapbench.findings.summary import AgainstTarget, ScenarioSummary, Sharing
from swapbench.stats.estimate import Estimate, Interval

COLUMNS: Final = ("run_id", "source", "scenario", "measure", "subject", "unit", "point", "low", "high", "n")

# scenario, measure, subject, unit, point, low, high, n
_Row = tuple[str, str, str, str, float, float | None, float | None, int | None]


def to_csv(findings: Findings) -> str:
    """A header and the facts; what was not recorded has no row. Verdicts are words: see JSON for them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    source = "+".join(findings.facts.sources)
    for scenario, measure, subject, unit, point, low, high, n in _rows(findings):
        numbers = (_number(point), _number(low), _number(high), "" if n is None else n)
        writer.writerow((findings.facts.run_id, source, scenario, measure, subject, unit, *numbers))
    return text.getvalue()


def _rows(findings: Findings) -> Iterator[_Row]:
    for scenario in findings.scenarios:
        yield from _scenario(scenario)
    yield from _drift(findings.drift)
    for compared_firsts in findings.first_swaps:
        yield from _first_swaps(compared_firsts)
    for outlier in findings.outliers:
        yield from _outlier(outlier)
    for compared in findings.ladders:
        yield from _ladder(compared)
    for memory in findings.memory:
        yield from _memory(memory)
    for felt in findings.clients:
        yield from _clients(felt)
    for shared in findings.sharing:
        yield from _sharing(shared)
    for against in findings.limits:
        yield from _limit(against)
    for restores in findings.restores:
        yield from _restores(restores)
    for leak in findings.leaks:
        yield from _leak(leak)


def _drift(drift: Drift) -> Iterator[_Row]:
    if drift.change is not None:
        yield "", "drift", "", "1", drift.change, drift.low, drift.high, drift.rounds


def _first_swaps(entry: FirstSwaps) -> Iterator[_Row]:
    yield from _estimate(entry.scenario, "first_swaps", "first", "s", entry.first)
    yield from _estimate(entry.scenario, "first_swaps", "later", "s", entry.later)


def _outlier(outlier: Outlier) -> Iterator[_Row]:
    where = f"round {outlier.round}"
    yield outlier.scenario, "outlier", where, "s", outlier.seconds, None, None, None
    yield outlier.scenario, "outlier_times", where, "times the median", outlier.times, None, None, None


def _interval(
    scenario: str, subject: str, value: Estimate | None, interval: Interval | None
) -> Iterator[_Row]:
    if value is not None and interval is not None:
        yield scenario, "median_interval", subject, "s", value.point, interval.low, interval.high, interval.n
        yield scenario, "median_confidence", subject, "1", interval.confidence, None, None, interval.n


def _against_target(scenario: str, against: AgainstTarget | None) -> Iterator[_Row]:
    if against is not None:
        yield scenario, "swaps_under_target", "", "1", against.swaps_under, None, None, against.n
        yield scenario, "reliability", "", "1", against.reliability, None, None, against.n


def _clients(felt: ClientsFelt) -> Iterator[_Row]:
    numbers = (
        ("sent_requests", felt.sent),
        ("answered_by_old", felt.answered_by_old),
        ("answered_by_new", felt.answered_by_new),
        ("carried_clients", felt.carried),
        ("refused_requests", felt.refused),
        ("lost_requests", felt.lost),
        ("failed_requests", felt.failed),
        ("stalled_requests", felt.stalled),
    )
    for measure, n in numbers:
        if n is not None:
            yield felt.scenario, measure, "", "1", n, None, None, None
    waits = (("before", felt.wait_before), ("during", felt.wait_during), ("after", felt.wait_after))
    for when, wait in waits:
        yield from _estimate(felt.scenario, "wait", when, "s", wait)
    yield from _estimate(felt.scenario, "client_stall", "", "s", felt.longest_stall)


def _sharing(shared: Sharing) -> Iterator[_Row]:
    yield from _estimate(shared.scenario, "skew", "load", "s", shared.skew)
    for rank in shared.ranks:
        estimates = (
            ("rank_load", "s", rank.load),
            ("rank_barrier", "s", rank.barrier),
            ("rank_first_token", "s", rank.first_token),
            ("rank_weights", "B", rank.weights),
            ("rank_footprint", "B", rank.footprint),
            ("rank_disk_read", "B", rank.disk_read),
        )
        for measure, unit, value in estimates:
            yield from _estimate(shared.scenario, measure, f"rank {rank.rank}", unit, value)


def _limit(against: AgainstLimit) -> Iterator[_Row]:
    figures = (
        ("limit", "GB/s", against.limit_gb_per_s),
        ("limit_share", "1", against.share),
        ("floor", "s", against.floor_s),
    )
    for measure, unit, value in figures:
        if value is not None:
            yield against.scenario, measure, against.limit, unit, value, None, None, None


def _restores(restores: Restores) -> Iterator[_Row]:
    estimates = (
        ("restore", "s", restores.seconds),
        ("restored", "B", restores.bytes),
        ("restore_rate", "GB/s", restores.gb_per_s),
        ("restore_tokens", "tokens/s", restores.tokens_per_s),
        ("prefill_tokens", "tokens/s", restores.prefill_tokens_per_s),
    )
    for measure, unit, value in estimates:
        if value is not None:
            yield "", measure, restores.model, unit, value.point, value.low, value.high, value.n


def _leak(leak: LeakFinding) -> Iterator[_Row]:
    slope = leak.slope
    if slope is not None:
        low, high = (bound if abs(bound) != float("inf") else None for bound in (slope.low, slope.high))
        yield "", "leak_slope", leak.ledger, "B/swap", slope.point, low, high, slope.points


def _ladder(ladder: Ladder) -> Iterator[_Row]:
    for rung in ladder.rungs:
        for measure, value, unit in (
            ("strategy total", rung.total, "s"),
            ("strategy total against stock", rung.total_times, "times as fast"),
            ("strategy weights", rung.weights, "s"),
            ("strategy weights against stock", rung.weights_times, "times as fast"),
        ):
            if value is not None:
                yield (
                    ladder.scenario,
                    measure,
                    rung.strategy,
                    unit,
                    value.point,
                    value.low,
                    value.high,
                    value.n,
                )


def _scenario(scenario: ScenarioSummary) -> Iterator[_Row]:
    name, workload, proof = scenario.name, scenario.workload, scenario.proof
    yield name, "swaps", "counted", "1", scenario.counts.counted, None, None, None
    for phase in scenario.phases:
        yield from _estimate(name, "phase", phase.phase, "s", phase.seconds)
        yield from _share(name, phase.phase, phase.share)
    yield from _share(name, "unattributed", scenario.unattributed.share)
    for span in scenario.bottleneck.spans if scenario.bottleneck else ():
        yield from _estimate(name, "span", span.name, "s", span.seconds)
    estimates = (
        ("total", "s", scenario.total),
        ("unattributed", "s", scenario.unattributed.seconds),
        ("probe", "s", scenario.unattributed.probe_s),
        ("first_token", "s", scenario.first_token),
        ("to_first_token", "s", scenario.to_first_token),
        ("loaded", "B", scenario.loaded_bytes),
        ("load_rate", "GB/s", scenario.load_gb_per_s),
        ("resident_before", "1", scenario.resident_before),
        ("settle", "s", scenario.settle_s),
        ("energy", "J", scenario.energy_j),
        ("idle_power", "W", scenario.idle_w),
        ("resident", "B", proof.resident_bytes),
        ("second_first_token", "s", proof.second_first_token),
        ("steady_rate", "tokens/s", proof.steady_tokens_per_s),
        ("verified", "tokens", proof.verified_tokens),
        ("longest_stall", "s", proof.longest_stall),
        ("kv_capacity", "B", proof.kv_capacity_bytes),
        ("drained_requests", "1", workload.drained_requests),
        ("carried_requests", "1", workload.carried_requests),
        ("answered_requests", "1", workload.answered_requests),
        ("evicted_caches", "1", workload.evicted_caches),
        ("evicted", "B", workload.evicted_bytes),
        ("evict_rate", "GB/s", workload.evict_gb_per_s),
        ("cache_write", "s", workload.cache_write_s),
    )
    for measure, unit, value in estimates:
        yield from _estimate(name, measure, "", unit, value)
    if scenario.outside is not None:
        yield from _outside(name, scenario.outside)
    yield from _interval(name, "total", scenario.total, scenario.total_interval)
    yield from _interval(name, "headline", scenario.headline, scenario.headline_interval)
    yield from _against_target(name, scenario.against_target)


def _outside(name: str, outside: Outside) -> Iterator[_Row]:
    for measure, unit, value in (
        ("to_first_byte", "s", outside.first_byte),
        ("reported_load", "s", outside.reported_load),
        ("unreported", "s", outside.unreported),
        ("reported_memory", "B", outside.reported_memory),
        ("disk_read", "B", outside.disk_read_bytes),
        ("in_flight", "1", outside.in_flight),
        ("failed_in_flight", "1", outside.failed_requests),
        ("stalled_in_flight", "1", outside.stalled_requests),
    ):
        yield from _estimate(name, measure, "", unit, value)


def _memory(memory: ScenarioMemory) -> Iterator[_Row]:
    yield from _estimate(memory.scenario, "release_settle", "", "s", memory.release_settle)
    for ledger in memory.ledgers:
        values = (
            ("memory_before", ledger.before),
            ("memory_peak", ledger.peak),
            ("memory_after_unload", ledger.after_unload),
            ("memory_after", ledger.after),
            ("memory_overlap", ledger.overlap),
            ("memory_returned", ledger.returned),
            ("memory_not_reclaimed", ledger.not_reclaimed),
        )
        for measure, value in values:
            yield from _estimate(memory.scenario, measure, ledger.ledger, "B", value)


def _estimate(scenario: str, measure: str, subject: str, unit: str, value: Estimate | None) -> Iterator[_Row]:
    if value is not None:
        yield scenario, measure, subject, unit, value.point, value.low, value.high, value.n


def _share(scenario: str, phase: str, share: float | None) -> Iterator[_Row]:
    if share is not None:
        yield scenario, "share", phase, "1", share, None, None, None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9f}".rstrip("0").rstrip(".")

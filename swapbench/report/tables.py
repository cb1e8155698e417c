"""What a report shows, as tables and lines of text; how they look is up to terminal and Markdown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import EN_DASH, NOT_RECORDED
from swapbench.base.phases import LEDGER_LABELS, Phase
from swapbench.findings import Findings
from swapbench.findings.memory import LedgerSummary
from swapbench.findings.runs import RunFacts
from swapbench.findings.serving import Outside
from swapbench.findings.summary import PhaseSummary, ScenarioSummary
from swapbench.findings.verdict import CriterionOutcome
from swapbench.report.shapes import Cell, Line, Table, Tone, point
from swapbench.stats.estimate import FEW, Estimate, Interval

ARROW: Final = "\N{RIGHTWARDS ARROW}"
ABOVE: Final = "\N{BLACK UP-POINTING TRIANGLE}"
BELOW: Final = "\N{BLACK DOWN-POINTING TRIANGLE}"

REQUEST_TO_FIRST_TOKEN: Final = f"request {ARROW} first token"

_INSIDE: Final = "  interval"

_MARKS: Final = {"above": ABOVE, "below": BELOW, "within": "", None: ""}
_OUTCOME_TONES: Final[dict[str, Tone]] = {
    CriterionOutcome.PASS: "good",
    CriterionOutcome.FAIL: "bad",
    CriterionOutcome.INCONCLUSIVE: "doubt",
    CriterionOutcome.NOT_JUDGED: "quiet",
    "clean": "good",
    "leak": "bad",
    "not measurable": "doubt",
}


def facts(findings: Findings) -> tuple[Line, ...]:
    """What the run is, before any figure. The source of the models is apart: it is never one of many."""
    run, counts = findings.facts, findings.counts
    rounds = figures.counted(run.rounds, "round")
    warmup = f" after {figures.counted(run.warmup_rounds, 'warm-up round')}" if run.warmup_rounds else ""
    excluded = {
        "warm-up": counts.warmup,
        "invalid": counts.invalid,
        "failed": counts.failed,
        "rolled back": counts.rolled_back,
        "refused": counts.refused,
    }
    swaps = "".join(f", {n} {why}" for why, n in excluded.items() if n)
    lines = [
        Line("run", f"{run.run_id}, {run.started_at:%Y-%m-%d}"),
        Line("machine", f"{run.machine}" + served_by(run)),
        Line("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        Line("page cache", run.page_cache + _residency(findings.scenarios)),
        Line("swaps", f"{rounds}{warmup}, {figures.counted(counts.counted, 'swap')} counted{swaps}"),
    ]
    return tuple(line for line in lines if line.text)


def served_by(facts: RunFacts) -> str:
    """`, MLX on cpu (x86_64)`, or `, served by mlx_lm`."""
    if not facts.device:
        return ""
    inside = facts.target in ("inprocess", "scripted")
    return f", MLX on {facts.device}" if inside else f", served by {facts.device}"


def _residency(scenarios: Sequence[ScenarioSummary]) -> str:
    shares = [s.resident_before for s in scenarios if s.resident_before is not None]
    if not shares:
        return ", residency not recorded"
    low, high = min(share.low for share in shares), max(share.high for share in shares)
    between = figures.percent(low) if low == high else f"{figures.percent(low)} to {figures.percent(high)}"
    return f": {between} of each checkpoint resident before load"


def measured(findings: Findings) -> Findings:
    """Without scenarios of which no swap counts, unless none does: dashes in every row would tell nothing."""
    found = having(findings)
    return replace(findings, scenarios=found) if found else findings


def having(findings: Findings) -> tuple[ScenarioSummary, ...]:
    """Scenarios with a headline."""
    return tuple(scenario for scenario in findings.scenarios if scenario.headline is not None)


def headlines(findings: Findings) -> tuple[Line, ...]:
    """One line per scenario: how long, against the target, and because of what."""
    return tuple(Line(scenario.name, _headline(scenario)) for scenario in findings.scenarios)


def _headline(scenario: ScenarioSummary) -> str:
    if scenario.headline is None:
        return "not measured"
    figure = REQUEST_TO_FIRST_TOKEN if scenario.headline_is == "to_first_token" else "total"
    inside = _headline_interval(scenario.headline_interval)
    parts = [f"{figures.seconds(scenario.headline.point)}{inside} {figure}"]
    if scenario.headline_is == "to_first_token" and scenario.total:
        parts.append(f"swap {figures.seconds(scenario.total.point)}")
    against = scenario.against_target
    if against:
        parts.append(f"{figures.factor(against.factor)} {against.side} {against.target_s:g} s")
    if scenario.bottleneck:
        share = figures.percent(scenario.bottleneck.share)
        parts.append(f"{scenario.bottleneck.phase} {share}{of_headline(scenario)}")
    return ", ".join(parts)


def of_headline(scenario: ScenarioSummary) -> str:
    """What a bottleneck's share is of, where the total is not all that is told."""
    return f" of {REQUEST_TO_FIRST_TOKEN}" if scenario.headline_is == "to_first_token" else ""


def _headline_interval(interval: Interval | None) -> str:
    """` (97 % interval 0.128-0.141)`; nothing where the ends read alike."""
    if interval is None:
        return ""
    low, high = (figures.seconds(end).removesuffix(" s") for end in (interval.low, interval.high))
    return "" if low == high else f" ({figures.percent(interval.confidence)} interval {low}{EN_DASH}{high})"


def phases(findings: Findings, scenarios: Sequence[ScenarioSummary]) -> Table:
    """Phase by scenario: medians with their spread and share, then the totals against the target.

    Phases that nobody can see from outside a server have no row.
    """
    claims = findings.facts.claims
    totals = _totals(scenarios, findings.target_s, claims)
    ranges = any(phase.expected_s for phase in scenarios[0].phases)
    rows = [
        (Cell(phase.phase), *([_expected(phase)] if ranges else []), *_phase_cells(scenarios, i))
        for i, phase in enumerate(scenarios[0].phases)
        if any(s.outside is None or s.phases[i].seconds is not None for s in scenarios)
    ]
    blank = (Cell(""),) if ranges else ()
    if rows:
        rest = (estimate_cell(s.unattributed.seconds, s.unattributed.share, "quiet") for s in scenarios)
        rows.append((Cell("unattributed", tone="quiet"), *blank, *rest))
    legend = [f"{ABOVE} above, {BELOW} below the expected range"] if _any_mark(rows) else []
    if claims:
        legend.append("swaps under: the share of swaps that this many vouch for at 95 % confidence")
    if any(name == _INSIDE for name, _ in totals):
        legend.append(
            f"{_INSIDE.strip()}: where the median lies by order statistics, at 95 % confidence or more"
        )
    return Table(
        title=_phases_title(scenarios),
        label="phase",
        columns=(*((("expected",),) if ranges else ()), *_headings(scenarios)),
        groups=(
            *((tuple(rows),) if rows else ()),
            tuple((Cell(name), *blank, *cells) for name, cells in totals),
        ),
        legend="; ".join(legend),
    )


def _totals(
    scenarios: Sequence[ScenarioSummary], target_s: float, claims: bool
) -> list[tuple[str, list[Cell]]]:
    by_token = [s.headline_interval if s.headline_is == "to_first_token" else None for s in scenarios]
    totals = [
        ("total", [estimate_cell(s.total, tone="strong") for s in scenarios]),
        *_inside([s.total_interval for s in scenarios]),
        ("first token", [estimate_cell(s.first_token) for s in scenarios]),
        (REQUEST_TO_FIRST_TOKEN, [estimate_cell(s.to_first_token, tone="strong") for s in scenarios]),
        *_inside(by_token),
    ]
    if not claims:
        return [*totals, ("against the target", [Cell("no claim", tone="quiet") for _ in scenarios])]
    return [
        *totals,
        (f"against {target_s:g} s", [_against(s) for s in scenarios]),
        (f"swaps under {target_s:g} s", [_swaps_under(s) for s in scenarios]),
    ]


def _inside(intervals: Sequence[Interval | None]) -> list[tuple[str, list[Cell]]]:
    """A row for where the medians lie; none where no scenario has swaps enough to say."""
    if not any(intervals):
        return []
    return [(_INSIDE, [_interval(interval) for interval in intervals])]


def _interval(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(NOT_RECORDED, tone="quiet", figure=True)
    low, high = figures.table_seconds(interval.low), figures.table_seconds(interval.high)
    return Cell("", spread=f"({low}{EN_DASH}{high})", tone="quiet", figure=True)


def _phases_title(scenarios: Sequence[ScenarioSummary]) -> str:
    swaps = [s.headline.n for s in scenarios if s.headline] or [0]
    fewest, most = min(swaps), max(swaps)
    if most < 2:
        return "Phases: seconds, share of the total"
    spread = "quartiles" if fewest >= FEW else f"min{EN_DASH}max"
    if fewest < FEW <= most:
        spread += f", quartiles from {FEW} swaps on"
    of = str(most) if fewest == most else f"{fewest} to {most}"
    return f"Phases: median seconds of {of} swaps ({spread}), share of the total"


def _any_mark(rows: Sequence[tuple[Cell, ...]]) -> bool:
    return any(cell.mark for row in rows for cell in row)


def _headings(scenarios: Sequence[ScenarioSummary]) -> tuple[tuple[str, ...], ...]:
    return tuple((s.name, s.from_model, f"{ARROW} {s.to_model}") for s in scenarios)


def _phase_cells(scenarios: Sequence[ScenarioSummary], index: int) -> Iterator[Cell]:
    for scenario in scenarios:
        phase = scenario.phases[index]
        longest = scenario.bottleneck is not None and scenario.bottleneck.phase == phase.phase
        tone: Tone = "strong" if longest else "plain"
        yield estimate_cell(phase.seconds, phase.share, tone, _MARKS[phase.expectation])


def _expected(phase: PhaseSummary) -> Cell:
    if phase.expected_s is None:
        return Cell("")
    return Cell(f"{phase.expected_s[0]:g}{EN_DASH}{phase.expected_s[1]:g}", tone="quiet")


def estimate_cell(
    value: Estimate | None, share: float | None = None, tone: Tone = "plain", mark: str = ""
) -> Cell:
    if value is None:
        return Cell(NOT_RECORDED, tone="quiet", figure=True)
    low, high = figures.table_seconds(value.low), figures.table_seconds(value.high)
    return Cell(
        text=figures.table_seconds(value.point),
        spread=f"({low}{EN_DASH}{high})" if low != high else "",
        share="" if share is None else figures.percent(share),
        mark=mark,
        tone=tone,
        figure=True,
    )


def _against(scenario: ScenarioSummary) -> Cell:
    against = scenario.against_target
    if against is None:
        return Cell(NOT_RECORDED, tone="quiet")
    tone: Tone = "good" if against.side == "under" else "bad"
    return Cell(f"{figures.factor(against.factor)} {against.side}", tone=tone)


def _swaps_under(scenario: ScenarioSummary) -> Cell:
    against = scenario.against_target
    if against is None:
        return Cell(NOT_RECORDED, tone="quiet")
    return Cell(f"{against.swaps_under} of {against.n}: {figures.percent(against.reliability)}")


def bottlenecks(findings: Findings) -> tuple[Line, ...]:
    """The phase that takes most of each scenario, with its spans below."""
    return tuple(_bottleneck(scenario) for scenario in findings.scenarios)


def _bottleneck(scenario: ScenarioSummary) -> Line:
    found = scenario.bottleneck
    if found is None:
        if scenario.outside is not None:
            return Line(scenario.name, "not to be seen from outside a server", tone="quiet")
        return Line(scenario.name, "not measured", tone="doubt")
    parts = [
        f"{found.phase} takes {figures.percent(found.share)}{of_headline(scenario)}, and is the longest "
        f"phase in {found.longest_in} of {figures.counted(found.n, 'swap')}"
    ]
    reads = found.disk_read_bytes is not None and (found.phase == Phase.LOAD or found.disk_read_bytes.point)
    if reads and found.disk_read_bytes is not None:
        parts.append(f"{figures.size(found.disk_read_bytes.point)} read from disk")
    if found.major_faults is not None and found.major_faults.point:
        parts.append(f"{figures.count(found.major_faults.point)} major faults")
    spans = ", ".join(
        f"{span.name} {figures.seconds(span.seconds.point)}"
        + (f" ({figures.percent(span.share_of_phase)})" if span.share_of_phase is not None else "")
        for span in found.spans
    )
    return Line(scenario.name, "; ".join(parts), below=(spans,) if spans else ())


_Show = Callable[[ScenarioSummary], str]


def work(scenarios: Sequence[ScenarioSummary]) -> Table | None:
    """What the swaps moved: the checkpoint, and under load requests and caches. None where unrecorded."""
    outside: list[tuple[str, _Show]] = [(label, _of_outside(show)) for label, show in _OUTSIDE]
    load: list[tuple[str, _Show]] = [
        ("loaded", lambda s: point(s.loaded_bytes, figures.size)),
        ("load rate", lambda s: point(s.load_gb_per_s, figures.rate)),
        ("resident before", lambda s: point(s.resident_before, figures.percent)),
        ("resident after", lambda s: _resident_after(s)),
        ("settles after", lambda s: point(s.settle_s, figures.seconds)),
        ("machine's energy", lambda s: point(s.energy_j, figures.joules)),
        ("machine's power, idle", lambda s: point(s.idle_w, figures.watts)),
    ]
    proof: list[tuple[str, _Show]] = [
        ("second first token", lambda s: point(s.proof.second_first_token, figures.seconds)),
        ("steady rate", lambda s: point(s.proof.steady_tokens_per_s, figures.token_rate)),
        ("tokens verified", lambda s: point(s.proof.verified_tokens, figures.count)),
        ("longest stall", lambda s: point(s.proof.longest_stall, figures.seconds)),
    ]
    workload: list[tuple[str, _Show]] = [
        ("requests drained", lambda s: point(s.workload.drained_requests, figures.count)),
        ("requests carried over", lambda s: point(s.workload.carried_requests, figures.count)),
        ("requests answered", lambda s: point(s.workload.answered_requests, figures.count)),
        ("caches evicted", lambda s: point(s.workload.evicted_caches, figures.count)),
        ("bytes evicted", lambda s: point(s.workload.evicted_bytes, figures.size)),
        ("evict rate", lambda s: point(s.workload.evict_gb_per_s, figures.rate)),
        ("a cache's write", lambda s: point(s.workload.cache_write_s, figures.seconds)),
    ]
    busy = any(s.workload.busy for s in scenarios)
    parts = [outside, load, proof, workload] if busy else [outside, load, proof]
    groups = [_work_rows(rows, scenarios) for rows in parts]
    shown = tuple(group for group in groups if group)
    return Table("Work of a swap, median", "", _headings(scenarios), shown) if shown else None


_OUTSIDE: Final[tuple[tuple[str, Callable[[Outside], str]], ...]] = (
    (f"request {ARROW} first byte", lambda o: point(o.first_byte, figures.seconds)),
    ("load, as reported", lambda o: point(o.reported_load, figures.seconds)),
    ("felt beyond that", lambda o: point(o.unreported, figures.seconds)),
    ("memory, as reported", lambda o: point(o.reported_memory, figures.memory)),
    ("read from disk", lambda o: point(o.disk_read_bytes, figures.size)),
    ("requests in flight", lambda o: point(o.in_flight, figures.count)),
    ("requests failed", lambda o: point(o.failed_requests, figures.count)),
    ("requests stalled", lambda o: point(o.stalled_requests, figures.count)),
)


def _of_outside(show: Callable[[Outside], str]) -> _Show:
    return lambda scenario: NOT_RECORDED if scenario.outside is None else show(scenario.outside)


def _resident_after(scenario: ScenarioSummary) -> str:
    """What load has added to the process, as a share of the checkpoint."""
    added, loaded = scenario.proof.resident_bytes, scenario.loaded_bytes
    if added is None or loaded is None or not loaded.point:
        return NOT_RECORDED
    return f"{figures.memory(added.point)}, {figures.percent(added.point / loaded.point)}"


def _work_rows(
    rows: Sequence[tuple[str, _Show]], scenarios: Sequence[ScenarioSummary]
) -> tuple[tuple[Cell, ...], ...]:
    cells = [(Cell(label), *(Cell(show(s)) for s in scenarios)) for label, show in rows]
    return tuple(row for row in cells if any(cell.text != NOT_RECORDED for cell in row[1:]))


def memory(findings: Findings) -> Table | None:
    """Before, at the most, after: every ledger of every scenario. None where no ledger was recorded."""
    groups = []
    for scenario in findings.memory:
        ledgers = [ledger for ledger in scenario.ledgers if ledger.recorded]
        if ledgers:
            heading = (Cell(scenario.scenario, tone="strong"), *(Cell("") for _ in range(5)))
            groups.append((heading, *(_ledger_row(ledger) for ledger in ledgers)))
    if not groups:
        return None
    mapped = any(ledger.ledger == "file_backed" for s in findings.memory for ledger in s.ledgers)
    reclaimable = "; file-backed pages: the system takes them back whenever it likes" if mapped else ""
    return Table(
        title="Memory, median",
        label="ledger",
        columns=(("before",), ("peak",), ("after", "unload"), ("after",), ("not", "reclaimed")),
        groups=tuple(groups),
        legend="peak: the most in use, of system available the least left; "
        f"not reclaimed: after unload, beyond the worker without a model{reclaimable}",
    )


def _ledger_row(ledger: LedgerSummary) -> tuple[Cell, ...]:
    values = (ledger.before, ledger.peak, ledger.after_unload, ledger.after, ledger.not_reclaimed)
    return (
        Cell(f"  {LEDGER_LABELS[ledger.ledger]}"),
        *(Cell(point(value, figures.memory)) for value in values),
    )


def leaks(findings: Findings) -> tuple[Line, ...]:
    """The verdict on every ledger; one line where it is the same for all."""
    reasons = {leak.reason for leak in findings.leaks}
    if len(reasons) == 1 and {leak.outcome for leak in findings.leaks} == {"not measurable"}:
        return (Line("all ledgers", reasons.pop(), tone="doubt"),)
    return tuple(
        Line(
            LEDGER_LABELS[leak.ledger],
            f"{leak.outcome}: {leak.reason}",
            tone=_OUTCOME_TONES.get(leak.outcome, "quiet"),
            below=_one_off(leak.one_off_bytes),
        )
        for leak in findings.leaks
    )


def _one_off(one_off_bytes: float | None) -> tuple[str, ...]:
    if one_off_bytes is None or one_off_bytes < 1 << 20:
        return ()
    return (f"and {figures.memory(one_off_bytes)} once, which no slope explains",)


def criteria(findings: Findings) -> Table:
    """What was demanded and what became of it."""
    rows = tuple(
        (
            Cell(str(verdict.outcome), tone=_OUTCOME_TONES[verdict.outcome]),
            Cell(verdict.title + ("" if verdict.declared else " (not declared)")),
            Cell(verdict.reason, tone="quiet"),
        )
        for verdict in findings.verdicts
    )
    return Table("Criteria", "outcome", (("criterion",), ("because",)), (rows,), prose=True)

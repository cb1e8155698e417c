"""The swap: how long it took, phase by phase, and which phase takes most of it."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import EN_DASH, NOT_RECORDED
from swapbench.base.phases import Phase
from swapbench.findings import Findings
from swapbench.findings.chart_data import Stretch, SwapTimeline
from swapbench.findings.summary import PhaseSummary, ScenarioSummary
from swapbench.report.blocks import (
    NOT_ON_A_PAGE,
    Cell,
    Chart,
    Charts,
    Line,
    Lines,
    Section,
    Table,
    Tone,
    section,
)
from swapbench.report.charts.timelines import waterfall as draw_waterfall
from swapbench.report.sections.view import (
    ARROW,
    REQUEST_TO_FIRST_TOKEN,
    RunView,
    estimate_cell,
    having,
    headings,
    measured,
    of_headline,
)
from swapbench.stats.estimate import FEW, Interval


def swap(run: RunView) -> Section:
    """Of several strategies only charts: their figures stand side by side."""
    found = measured(run.findings)
    charts = tuple(
        Chart(
            title=timeline.scenario,
            caption=_waterfall_caption(timeline),
            spec=partial(draw_waterfall, timeline),
            table=_waterfall_table(timeline),
        )
        for timeline in run.pictures.timelines
    )
    alone = not found.ladders
    return section(
        "swap",
        "The swap",
        Charts(charts, legend=True),
        Lines("Headline", _headlines(found), on=NOT_ON_A_PAGE) if alone else None,
        _phases(found) if alone and having(found) else None,
        Lines("Bottleneck", _bottlenecks(found)) if alone and having(found) else None,
    )


def _waterfall_caption(timeline: SwapTimeline) -> str:
    longest = max(timeline.phases, key=lambda phase: phase.seconds)
    which = {1: "the only swap", 2: "the faster of 2 swaps"}.get(
        timeline.n, f"of {timeline.n} swaps the one nearest the median"
    )
    starts = "; starts were not recorded, so phases are laid end to end" if timeline.end_to_end else ""
    return (
        f"{timeline.from_model} {ARROW} {timeline.to_model}. Round {timeline.round}, {which}: the "
        f"swap took {figures.seconds(timeline.total_s)} (dashed line), the longest stretch is "
        f"{longest.phase.replace('_', ' ')} with {figures.seconds(longest.seconds)}{starts}."
    )


def _waterfall_table(timeline: SwapTimeline) -> Table:
    return Table(
        title=f"{timeline.scenario}: phases and spans, seconds",
        label="phase or span",
        columns=(("start",), ("seconds",)),
        groups=(tuple(_stretch_row(stretch, timeline) for stretch in timeline.stretches),),
    )


def _stretch_row(stretch: Stretch, timeline: SwapTimeline) -> tuple[Cell, ...]:
    name = f"  {stretch.phase}/{stretch.span}" if stretch.span else stretch.phase
    start = figures.NOT_RECORDED if timeline.end_to_end else figures.table_seconds(stretch.start_s)
    return Cell(name), Cell(start, figure=True), Cell(figures.table_seconds(stretch.seconds), figure=True)


ABOVE: Final = "\N{BLACK UP-POINTING TRIANGLE}"
BELOW: Final = "\N{BLACK DOWN-POINTING TRIANGLE}"
_INSIDE: Final = "  interval"
_MARKS: Final = {"above": ABOVE, "below": BELOW, "within": "", None: ""}


def _headlines(findings: Findings) -> tuple[Line, ...]:
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


def _headline_interval(interval: Interval | None) -> str:
    """` (97 % interval 0.128-0.141)`; nothing where the ends read alike."""
    if interval is None:
        return ""
    low, high = (figures.seconds(end).removesuffix(" s") for end in (interval.low, interval.high))
    return "" if low == high else f" ({figures.percent(interval.confidence)} interval {low}{EN_DASH}{high})"


def _phases(findings: Findings) -> Table:
    """Phase by scenario: medians with their spread and share, then the totals against the target.

    Phases that nobody can see from outside a server have no row.
    """
    scenarios, claims = findings.scenarios, findings.facts.claims
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
        columns=(*((("expected",),) if ranges else ()), *headings(scenarios)),
        groups=(
            *((tuple(rows),) if rows else ()),
            tuple((Cell(name), *blank, *cells) for name, cells in totals),
        ),
        legend="; ".join(legend),
        lead=1 if ranges else 0,
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
        unjudged = Cell("not judged (mini models)", tone="quiet")
        return [*totals, ("against the target", [unjudged for _ in scenarios])]
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


def _bottlenecks(findings: Findings) -> tuple[Line, ...]:
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

"""The swap: how long it took, phase by phase, and which phase takes most of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import EN_DASH, NOT_RECORDED
from swapbench.base.phases import Phase
from swapbench.findings.chart_data import SwapTimeline
from swapbench.findings.summary import AgainstTarget, Bottleneck, PhaseSummary, ScenarioSummary
from swapbench.report.blocks import NOT_ON_A_PAGE, Cell, Chart, Charts, Line, Lines, Section, Table, Tone
from swapbench.report.charts.run import waterfall as draw_waterfall
from swapbench.report.layout import columns, figure, row, section
from swapbench.report.sections import (
    ARROW,
    REQUEST_TO_FIRST_TOKEN,
    RunView,
    against_cell,
    against_target,
    estimate_cell,
    having,
    headings,
    of_headline,
)
from swapbench.stats.estimate import FEW, Interval

ABOVE: Final = "\N{BLACK UP-POINTING TRIANGLE}"
BELOW: Final = "\N{BLACK DOWN-POINTING TRIANGLE}"
_INSIDE: Final = "  interval"
_MARKS: Final = {"above": ABOVE, "below": BELOW, "within": "", None: ""}


def swap(run: RunView) -> Section:
    """Of several strategies only charts: their figures stand side by side."""
    found = run.findings
    charts = Charts(tuple(map(_waterfall, run.pictures.timelines)), legend=True)
    if found.ladders:
        return section("swap", "The swap", charts)
    # Dashes in every row would tell nothing: scenarios of which no swap counts are told where none does.
    measured = having(found)
    scenarios = measured or found.scenarios
    return section(
        "swap",
        "The swap",
        charts,
        Lines("Headline", tuple(Line(s.name, _headline(s)) for s in scenarios), on=NOT_ON_A_PAGE),
        _phases(measured, found.target_s, found.facts.claims) if measured else None,
        Lines("Bottleneck", tuple(map(_bottleneck, measured))),
    )


def _waterfall(timeline: SwapTimeline) -> Chart:
    longest = max(timeline.phases, key=lambda phase: phase.seconds)
    which = {1: "the only swap", 2: "the faster of 2 swaps"}.get(
        timeline.n, f"of {timeline.n} swaps the one nearest the median"
    )
    starts = "; starts were not recorded, so phases are laid end to end" if timeline.end_to_end else ""
    caption = (
        f"{timeline.from_model} {ARROW} {timeline.to_model}. Round {timeline.round}, {which}: the "
        f"swap took {figures.seconds(timeline.total_s)} (dashed line), the longest stretch is "
        f"{longest.phase.replace('_', ' ')} with {figures.seconds(longest.seconds)}{starts}."
    )
    rows = tuple(
        row(
            f"  {one.phase}/{one.span}" if one.span else one.phase,
            figure(NOT_RECORDED if timeline.end_to_end else figures.table_seconds(one.start_s)),
            figure(figures.table_seconds(one.seconds)),
        )
        for one in timeline.stretches
    )
    title = f"{timeline.scenario}: phases and spans, seconds"
    table = Table(title, "phase or span", columns("start", "seconds"), (rows,))
    return Chart(timeline.scenario, caption, partial(draw_waterfall, timeline), table=table)


def _headline(scenario: ScenarioSummary) -> str:
    """How long, against the target, and because of what."""
    if scenario.headline is None:
        return "not measured"
    by_token, inside = scenario.headline_is == "to_first_token", ""
    if interval := scenario.headline_interval:
        low, high = (figures.seconds(end).removesuffix(" s") for end in (interval.low, interval.high))
        if low != high:
            inside = f" ({figures.percent(interval.confidence)} interval {low}{EN_DASH}{high})"
    figure = REQUEST_TO_FIRST_TOKEN if by_token else "total"
    parts = [f"{figures.seconds(scenario.headline.point)}{inside} {figure}"]
    if by_token and scenario.total:
        parts.append(f"swap {figures.seconds(scenario.total.point)}")
    if scenario.against_target:
        parts.append(against_target(scenario))
    if found := scenario.bottleneck:
        parts.append(f"{found.phase} {figures.percent(found.share)}{of_headline(scenario)}")
    return ", ".join(parts)


def _phases(scenarios: Sequence[ScenarioSummary], target_s: float, claims: bool) -> Table:
    """Phase by scenario: medians with their spread and share, then the totals against the target.

    Phases that nobody can see from outside a server have no row.
    """
    totals = [*_totals(scenarios, target_s, claims)]
    ranges = any(phase.expected_s for phase in scenarios[0].phases)
    rows = []
    for i, phase in enumerate(scenarios[0].phases):
        if any(s.outside is None or s.phases[i].seconds is not None for s in scenarios):
            low, high = phase.expected_s or (None, None)
            expected = Cell("" if low is None else f"{low:g}{EN_DASH}{high:g}", tone="quiet")
            cells = (_phase_cell(s.phases[i], s.bottleneck) for s in scenarios)
            rows.append(row(phase.phase, *([expected] if ranges else []), *cells))
    blank = [""] if ranges else []
    if rows:
        rests = (s.unattributed for s in scenarios)
        cells = (estimate_cell(one.seconds, share=one.share, tone="quiet") for one in rests)
        rows.append(row(Cell("unattributed", tone="quiet"), *blank, *cells))
    marked = any(cell.mark for row in rows for cell in row)
    legend = [f"{ABOVE} above, {BELOW} below the expected range"] if marked else []
    if claims:
        legend.append("swaps under: the share of swaps that this many vouch for at 95 % confidence")
    if any(name == _INSIDE for name, _ in totals):
        legend.append("interval: where the median lies by order statistics, at 95 % confidence or more")
    return Table(
        title=_phases_title(scenarios),
        label="phase",
        columns=(*columns(*["expected"] * ranges), *headings(scenarios)),
        groups=(*([tuple(rows)] if rows else []), tuple(row(name, *blank, *cells) for name, cells in totals)),
        legend="; ".join(legend),
        lead=1 if ranges else 0,
    )


def _totals(
    scenarios: Sequence[ScenarioSummary], target_s: float, claims: bool
) -> Iterator[tuple[str, list[Cell]]]:
    by_token = [s.headline_interval if s.headline_is == "to_first_token" else None for s in scenarios]
    yield "total", [estimate_cell(s.total, tone="strong") for s in scenarios]
    yield from _inside([s.total_interval for s in scenarios])
    yield "first token", [estimate_cell(s.first_token) for s in scenarios]
    yield REQUEST_TO_FIRST_TOKEN, [estimate_cell(s.to_first_token, tone="strong") for s in scenarios]
    yield from _inside(by_token)
    if not claims:
        yield "against the target", [Cell("not judged (mini models)", tone="quiet") for _ in scenarios]
        return
    yield f"against {target_s:g} s", [against_cell(s) for s in scenarios]
    yield f"swaps under {target_s:g} s", [_swaps_under(s.against_target) for s in scenarios]


def _swaps_under(against: AgainstTarget | None) -> Cell:
    if against is None:
        return Cell(NOT_RECORDED, tone="quiet")
    return Cell(f"{against.swaps_under} of {against.n}: {figures.percent(against.reliability)}")


def _inside(intervals: Sequence[Interval | None]) -> Iterator[tuple[str, list[Cell]]]:
    """A row for where the medians lie; none where no scenario has swaps enough to say."""
    cells = []
    for interval in intervals:
        cells.append(figure(NOT_RECORDED, "quiet"))
        if interval is not None:
            low, high = figures.table_seconds(interval.low), figures.table_seconds(interval.high)
            cells[-1] = replace(cells[-1], text="", spread=f"({low}{EN_DASH}{high})")
    if any(intervals):
        yield _INSIDE, cells


def _phases_title(scenarios: Sequence[ScenarioSummary]) -> str:
    swaps = [s.headline.n for s in scenarios if s.headline]
    fewest, most = min(swaps), max(swaps)
    if most < 2:
        return "Phases: seconds, share of the total"
    spread = "quartiles" if fewest >= FEW else f"min{EN_DASH}max"
    if fewest < FEW <= most:
        spread += f", quartiles from {FEW} swaps on"
    of = str(most) if fewest == most else f"{fewest} to {most}"
    return f"Phases: median seconds of {of} swaps ({spread}), share of the total"


def _phase_cell(phase: PhaseSummary, longest: Bottleneck | None) -> Cell:
    tone: Tone = "strong" if longest is not None and longest.phase == phase.phase else "plain"
    mark = _MARKS[phase.expectation]
    return estimate_cell(phase.seconds, share=phase.share, tone=tone, mark=mark)


def _bottleneck(scenario: ScenarioSummary) -> Line:
    """The phase that takes most, with its spans below."""
    found = scenario.bottleneck
    if found is None and scenario.outside is not None:
        return Line(scenario.name, "not to be seen from outside a server", tone="quiet")
    if found is None:
        return Line(scenario.name, "not measured", tone="doubt")
    parts = [
        f"{found.phase} takes {figures.percent(found.share)}{of_headline(scenario)}, and is the longest "
        f"phase in {found.longest_in} of {figures.counted(found.n, 'swap')}"
    ]
    read = found.disk_read_bytes
    if read is not None and (found.phase == Phase.LOAD or read.point):
        parts.append(f"{figures.size(read.point)} read from disk")
    if found.major_faults is not None and found.major_faults.point:
        parts.append(f"{figures.count(found.major_faults.point)} major faults")
    spans = ", ".join(
        f"{span.name} {figures.seconds(span.seconds.point)}"
        + (f" ({figures.percent(span.share_of_phase)})" if span.share_of_phase is not None else "")
        for span in found.spans
    )
    return Line(scenario.name, "; ".join(parts), below=(spans,) if spans else ())

"""Memory: the ledgers around a swap, what was given back, and whether the run leaks."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.phases import LEDGER_LABELS
from swapbench.findings import Findings
from swapbench.findings.chart_data import SwapTimeline
from swapbench.findings.memory import Growth, ScenarioMemory
from swapbench.report.blocks import (
    AT_A_TERMINAL,
    EVERYWHERE,
    ON_A_PAGE,
    Chart,
    Charts,
    Line,
    Lines,
    Section,
    Table,
    Tone,
)
from swapbench.report.charts.run import growth as draw_growth
from swapbench.report.charts.run import memory as draw_memory
from swapbench.report.layout import columns, figure, headed, point, row, section, sentence
from swapbench.report.sections import ARROW, RunView, drawn, listed

_TONES: Final[dict[str, Tone]] = {"clean": "good", "leak": "bad", "not measurable": "doubt"}
_NOT_RECORDED: Final = Lines("Memory", (Line("all ledgers", "not recorded", "quiet"),), on=AT_A_TERMINAL)


def memory(run: RunView) -> Section:
    """Of several strategies only charts."""
    timelines = tuple(_chart(timeline) for timeline in run.pictures.timelines if timeline.ledgers)
    charts = Charts(timelines, legend=True)
    if run.findings.ladders:
        return section("memory", "Memory", charts)
    table = _memory(run.findings)
    releases = tuple(Line(of.scenario, text) for of in run.findings.memory if (text := _release(of)))
    return section(
        "memory", "Memory", charts, table or _NOT_RECORDED, Lines("Release", releases) if table else None
    )


def leaks(run: RunView) -> Section:
    """The verdict on every ledger: on a page beside its chart, where there is one."""
    charts = tuple(map(_leak_chart, run.pictures.growth))
    on = ON_A_PAGE if run.findings.ladders else EVERYWHERE
    lines = Lines("", tuple(_leaks(run.findings)), on=on - ON_A_PAGE if charts else on)
    return section("leaks", "Leaks", Charts(charts), lines)


def _chart(timeline: SwapTimeline) -> Chart:
    rows = []
    for series in timeline.ledgers:
        values = [value for _, value in series.points]
        cells = map(figures.memory, (values[0], min(values), max(values), values[-1]))
        rows.append(row(LEDGER_LABELS[series.ledger], *map(figure, cells)))
    headings = columns("at first", "least", "most", "at last")
    table = Table(f"{timeline.scenario}: ledgers around this swap", "ledger", headings, (tuple(rows),))
    caption = (
        f"{timeline.from_model} {ARROW} {timeline.to_model}, round {timeline.round}. Shades are the "
        "phases; every dot is a reading. Ledgers of the whole machine do not begin at zero."
    )
    return Chart(timeline.scenario, caption, partial(draw_memory, timeline), table=table)


def _leak_chart(growth: Growth) -> Chart:
    rows = tuple(
        row(
            *(f"swap {one.swap}", one.scenario),
            *(figure(figures.memory(value)) for value in (one.bytes, one.growth_bytes)),
            "" if one.considered else "no, warm-up",
        )
        for one in growth.points
    )
    ledger, number = LEDGER_LABELS[growth.finding.ledger], (len(growth.points), growth.left_out)
    headings = columns("scenario", "settled", "since the first", "in the slope")
    title = f"{ledger}, settled after each swap"
    table = Table(title, "swap", headings, (rows,), legend=listed(*number))
    caption = sentence(f"{growth.finding.outcome}: {growth.finding.reason}") + drawn(*number)
    return Chart(ledger, caption, partial(draw_growth, growth), panel=True, table=table)


def _memory(findings: Findings) -> Table | None:
    """Before, at the most, after: every ledger of every scenario. None where no ledger was recorded."""
    groups = []
    for scenario in findings.memory:
        rows = []
        for of in (ledger for ledger in scenario.ledgers if ledger.recorded):
            values = (of.before, of.peak, of.after_unload, of.after, of.not_reclaimed)
            cells = (point(value, figures.memory) for value in values)
            rows.append(row(f"  {LEDGER_LABELS[of.ledger]}", *cells))
        if rows:
            groups.append(headed(scenario.scenario, 5, rows))
    if not groups:
        return None
    mapped = any(ledger.ledger == "file_backed" for s in findings.memory for ledger in s.ledgers)
    reclaimable = "; file-backed pages: the system takes them back whenever it likes" if mapped else ""
    return Table(
        title="Memory, median",
        label="ledger",
        columns=columns("before", "peak", "after\nunload", "after", "not\nreclaimed"),
        groups=tuple(groups),
        legend="peak: the most in use, of system available the least left; "
        f"not reclaimed: after unload, beyond the worker without a model{reclaimable}",
    )


def _leaks(findings: Findings) -> Iterator[Line]:
    """The verdict on every ledger; one line where it is the same for all."""
    reasons = {leak.reason for leak in findings.leaks}
    if len(reasons) == 1 and {leak.outcome for leak in findings.leaks} == {"not measurable"}:
        yield Line("all ledgers", reasons.pop(), tone="doubt")
        return
    for leak in findings.leaks:
        once, below = leak.one_off_bytes, tuple[str, ...]()
        if once is not None and once >= 1 << 20:
            below = (f"and {figures.memory(once)} once, which no slope explains",)
        text, tone = f"{leak.outcome}: {leak.reason}", _TONES.get(leak.outcome, "quiet")
        yield Line(LEDGER_LABELS[leak.ledger], text, tone, below)


def _release(scenario: ScenarioMemory) -> str:
    """How soon unloaded memory was back, and how much of both models was held at once."""
    parts = []
    if scenario.release_settle is not None:
        parts.append(f"settled {figures.seconds(scenario.release_settle.point)} after unload")
    overlaps = [
        f"{LEDGER_LABELS[ledger.ledger]} {figures.memory(max(0.0, ledger.overlap.high))}"
        for ledger in scenario.ledgers
        if ledger.overlap is not None and ledger.ledger in ("mlx_active", "footprint")
    ]
    if overlaps:
        parts.append(f"peak beyond the larger model: {', '.join(overlaps)}")
    return "; ".join(parts)

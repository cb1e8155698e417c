"""Memory: the ledgers around a swap, what was given back, and whether the run leaks."""

from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.phases import LEDGER_LABELS
from swapbench.findings import Findings
from swapbench.findings.chart_data import LedgerSeries, SwapTimeline
from swapbench.findings.memory import Growth, LedgerSummary, ScenarioMemory
from swapbench.report.blocks import (
    AT_A_TERMINAL,
    EVERYWHERE,
    ON_A_PAGE,
    Cell,
    Chart,
    Charts,
    Line,
    Lines,
    Section,
    Table,
    Tone,
    point,
    section,
)
from swapbench.report.charts.swaps import growth as draw_growth
from swapbench.report.charts.timelines import memory as draw_memory
from swapbench.report.sections.view import ARROW, RunView, drawn, listed
from swapbench.report.text import sentence

_TONES: Final[dict[str, Tone]] = {"clean": "good", "leak": "bad", "not measurable": "doubt"}
_NOT_RECORDED: Final = Lines("Memory", (Line("all ledgers", "not recorded", "quiet"),), on=AT_A_TERMINAL)


def memory(run: RunView) -> Section:
    """Of several strategies only charts."""
    charts = tuple(
        Chart(
            title=timeline.scenario,
            caption=_memory_caption(timeline),
            spec=partial(draw_memory, timeline),
            table=_memory_table(timeline),
        )
        for timeline in run.pictures.timelines
        if timeline.ledgers
    )
    drawn_ = Charts(charts, legend=True)
    if run.findings.ladders:
        return section("memory", "Memory", drawn_)
    table = _memory(run.findings)
    releases = Lines("Release", _releases(run.findings))
    return section("memory", "Memory", drawn_, table or _NOT_RECORDED, releases if table else None)


def leaks(run: RunView) -> Section:
    """The verdict on every ledger: on a page beside its chart, where there is one."""
    charts = tuple(
        Chart(
            title=LEDGER_LABELS[growth.finding.ledger],
            caption=sentence(f"{growth.finding.outcome}: {growth.finding.reason}")
            + drawn(len(growth.points), growth.left_out),
            spec=partial(draw_growth, growth),
            panel=True,
            table=_growth_table(growth),
        )
        for growth in run.pictures.growth
    )
    on = ON_A_PAGE if run.findings.ladders else EVERYWHERE
    lines = Lines("", _leaks(run.findings), on=on - ON_A_PAGE if charts else on)
    return section("leaks", "Leaks", Charts(charts), lines)


def _memory_caption(timeline: SwapTimeline) -> str:
    return (
        f"{timeline.from_model} {ARROW} {timeline.to_model}, round {timeline.round}. Shades are the "
        "phases; every dot is a reading. Ledgers of the whole machine do not begin at zero."
    )


def _memory_table(timeline: SwapTimeline) -> Table:
    rows = tuple(_series_row(series) for series in timeline.ledgers)
    columns = (("at first",), ("least",), ("most",), ("at last",))
    return Table(f"{timeline.scenario}: ledgers around this swap", "ledger", columns, (rows,))


def _series_row(series: LedgerSeries) -> tuple[Cell, ...]:
    values = [value for _, value in series.points]
    shown = (values[0], min(values), max(values), values[-1])
    return Cell(LEDGER_LABELS[series.ledger]), *(Cell(figures.memory(v), figure=True) for v in shown)


def _growth_table(growth: Growth) -> Table:
    rows = tuple(
        (
            Cell(f"swap {point.swap}"),
            Cell(point.scenario),
            Cell(figures.memory(point.bytes), figure=True),
            Cell(figures.memory(point.growth_bytes), figure=True),
            Cell("" if point.considered else "no, warm-up"),
        )
        for point in growth.points
    )
    columns = (("scenario",), ("settled",), ("since the first",), ("in the slope",))
    title = f"{LEDGER_LABELS[growth.finding.ledger]}, settled after each swap"
    legend = listed(len(growth.points), growth.left_out)
    return Table(title, "swap", columns, (rows,), legend=legend)


def _memory(findings: Findings) -> Table | None:
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


def _leaks(findings: Findings) -> tuple[Line, ...]:
    """The verdict on every ledger; one line where it is the same for all."""
    reasons = {leak.reason for leak in findings.leaks}
    if len(reasons) == 1 and {leak.outcome for leak in findings.leaks} == {"not measurable"}:
        return (Line("all ledgers", reasons.pop(), tone="doubt"),)
    return tuple(
        Line(
            LEDGER_LABELS[leak.ledger],
            f"{leak.outcome}: {leak.reason}",
            tone=_TONES.get(leak.outcome, "quiet"),
            below=_one_off(leak.one_off_bytes),
        )
        for leak in findings.leaks
    )


def _one_off(one_off_bytes: float | None) -> tuple[str, ...]:
    if one_off_bytes is None or one_off_bytes < 1 << 20:
        return ()
    return (f"and {figures.memory(one_off_bytes)} once, which no slope explains",)


def _releases(findings: Findings) -> tuple[Line, ...]:
    """How soon unloaded memory was back, and how much of both models was held at once."""
    return tuple(
        Line(scenario.scenario, text) for scenario in findings.memory if (text := _release(scenario))
    )


def _release(scenario: ScenarioMemory) -> str:
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

"""The charts of a run, each with a sentence and a table that say the same."""

from collections.abc import Iterator

from swapbench.base import figures
from swapbench.base.phases import LEDGER_LABELS
from swapbench.findings import Findings
from swapbench.findings.chart_data import Dots, LadderDots, LedgerSeries, Pictures, Stretch, SwapTimeline
from swapbench.findings.memory import Growth
from swapbench.findings.strategies import Ladder
from swapbench.report import evidence, tables
from swapbench.report.html.charts.growth import growth as draw_growth
from swapbench.report.html.charts.ladder import ladder as draw_ladder
from swapbench.report.html.charts.memory import memory as draw_memory
from swapbench.report.html.charts.roofline import roofline as draw_roofline
from swapbench.report.html.charts.rounds import rounds as draw_rounds
from swapbench.report.html.charts.waterfall import waterfall as draw_waterfall
from swapbench.report.html.page import Figure, sentence
from swapbench.report.ladder import against_stock
from swapbench.report.shapes import Cell, Table

_FIGURE_NAMES = {"to_first_token": tables.REQUEST_TO_FIRST_TOKEN, "total": "whole swap"}


def waterfalls(pictures: Pictures, prefix: str) -> Iterator[Figure]:
    """The most ordinary swap of each scenario, phase by phase."""
    for number, timeline in enumerate(pictures.timelines):
        yield Figure(
            id=f"{prefix}swap-{number}",
            title=timeline.scenario,
            caption=_waterfall_caption(timeline),
            drawing=draw_waterfall(timeline),
            table=_waterfall_table(timeline),
        )


def _waterfall_caption(timeline: SwapTimeline) -> str:
    longest = max(timeline.phases, key=lambda phase: phase.seconds)
    which = {1: "the only swap", 2: "the faster of 2 swaps"}.get(
        timeline.n, f"of {timeline.n} swaps the one nearest the median"
    )
    starts = "; starts were not recorded, so phases are laid end to end" if timeline.end_to_end else ""
    return (
        f"{timeline.from_model} {tables.ARROW} {timeline.to_model}. Round {timeline.round}, {which}: the "
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


def distributions(pictures: Pictures, prefix: str) -> Iterator[Figure]:
    """Every swap of every scenario that has more than one."""
    for number, dots in enumerate(pictures.dots):
        if len(dots.dots) > 1:
            yield Figure(
                id=f"{prefix}rounds-{number}",
                title=dots.name,
                caption=_dots_caption(dots),
                drawing=draw_rounds(dots),
                table=_dots_table(dots),
            )


def _dots_caption(dots: Dots) -> str:
    parts = [f"{_FIGURE_NAMES[dots.figure]}, one dot a swap"]
    if dots.estimate is not None:
        parts.append(f"median {figures.seconds(dots.estimate.point)} of {dots.estimate.n} (line)")
    if dots.interval is not None:
        low, high = figures.seconds(dots.interval.low), figures.seconds(dots.interval.high)
        confidence = figures.percent(dots.interval.confidence)
        parts.append(f"its {confidence} interval {low} to {high} (band)")
    if any(dot.outlier for dot in dots.dots):
        parts.append("outliers ringed")
    if dots.without:
        parts.append(f"{figures.counted(dots.without, 'failed swap')} without a dot")
    drawn = _drawn(len(dots.dots), dots.left_out, ", and what stands out")
    return sentence(", ".join(parts)) + drawn


def _drawn(shown: int, left_out: int, too: str = "") -> str:
    """Which of many swaps are drawn; nothing where all are."""
    if not left_out:
        return ""
    return (
        f" Of {shown + left_out} swaps {shown} are drawn: the first, the last, the least and the greatest of "
        f"every stretch{too}."
    )


def _listed(shown: int, left_out: int) -> str:
    if not left_out:
        return ""
    return f"the {shown} of {shown + left_out} swaps that are drawn; the rest is in swaps.csv"


def _dots_table(dots: Dots) -> Table:
    rows = tuple(
        (
            Cell(f"round {dot.round}"),
            Cell(figures.table_seconds(dot.seconds), figure=True),
            Cell(dot.kind + (", outlier" if dot.outlier else "")),
        )
        for dot in dots.dots
    )
    title = f"{dots.name}: {_FIGURE_NAMES[dots.figure]}, seconds"
    legend = _listed(len(dots.dots), dots.left_out)
    return Table(title, "round", (("seconds",), ("in the figures",)), (rows,), legend=legend)


def memory_timelines(pictures: Pictures, prefix: str) -> Iterator[Figure]:
    """The ledgers during each scenario's most ordinary swap."""
    for number, timeline in enumerate(pictures.timelines):
        if timeline.ledgers:
            yield Figure(
                id=f"{prefix}memory-{number}",
                title=timeline.scenario,
                caption=_memory_caption(timeline),
                drawing=draw_memory(timeline),
                table=_memory_table(timeline),
            )


def _memory_caption(timeline: SwapTimeline) -> str:
    return (
        f"{timeline.from_model} {tables.ARROW} {timeline.to_model}, round {timeline.round}. Shades are the "
        "phases; every dot is a reading. Ledgers of the whole machine do not begin at zero."
    )


def _memory_table(timeline: SwapTimeline) -> Table:
    rows = tuple(_ledger_row(series) for series in timeline.ledgers)
    columns = (("at first",), ("least",), ("most",), ("at last",))
    return Table(f"{timeline.scenario}: ledgers around this swap", "ledger", columns, (rows,))


def _ledger_row(series: LedgerSeries) -> tuple[Cell, ...]:
    values = [value for _, value in series.points]
    shown = (values[0], min(values), max(values), values[-1])
    return Cell(LEDGER_LABELS[series.ledger]), *(Cell(figures.memory(v), figure=True) for v in shown)


def growths(pictures: Pictures, prefix: str) -> Iterator[Figure]:
    """Settled memory over the run, a ledger each."""
    for number, growth in enumerate(pictures.growth):
        yield Figure(
            id=f"{prefix}growth-{number}",
            title=LEDGER_LABELS[growth.finding.ledger],
            caption=sentence(f"{growth.finding.outcome}: {growth.finding.reason}")
            + _drawn(len(growth.points), growth.left_out),
            drawing=draw_growth(growth),
            table=_growth_table(growth),
        )


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
    legend = _listed(len(growth.points), growth.left_out)
    return Table(title, "swap", columns, (rows,), legend=legend)


def roofline(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Figure]:
    """Loads against the machine's limit; nothing where it is not known."""
    shown = {timeline.scenario for timeline in pictures.timelines}
    reached = [e for e in findings.limits if e.load_gb_per_s is not None and e.scenario in shown]
    if reached:
        best = max(entry.share or 0.0 for entry in reached)
        limits = dict.fromkeys(f"{e.limit}, {figures.rate(e.limit_gb_per_s)}" for e in reached)
        yield Figure(
            id=f"{prefix}roofline",
            title="Load rate against the limit",
            caption=(
                f"Grey is what the machine could do: {'; '.join(limits)}, measured by swapbench probe. "
                f"Colour is what loads reached: {figures.percent(best)} at best."
            ),
            drawing=draw_roofline(reached),
            table=evidence.limits(findings),
        )


def ladders(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[tuple[Figure, Ladder]]:
    """Strategies side by side, a scenario each."""
    shown = zip(pictures.ladders, findings.ladders, strict=True)
    for number, (dots, ladder) in enumerate(shown):
        if any(strategy.dots for strategy in dots.strategies):
            yield _ladder(f"{prefix}ladder-{number}", dots, ladder), ladder


def _ladder(id_: str, dots: LadderDots, ladder: Ladder) -> Figure:
    fastest = ladder.rungs[0]
    total = f" with {figures.seconds(fastest.total.point)}" if fastest.total else ""
    against = against_stock(fastest)
    times = f", {against}" if against else ""
    return Figure(
        id=id_,
        title=ladder.scenario,
        caption=(
            f"{ladder.from_model} {tables.ARROW} {ladder.to_model}, page cache {ladder.page_cache}. "
            f"One dot a swap, a line at each median. The fastest is {fastest.strategy}{total}{times}."
            + _drawn(*_numbers(dots), ", and what stands out")
        ),
        drawing=draw_ladder(dots, ladder),
        table=_ladder_table(dots),
    )


def _numbers(dots: LadderDots) -> tuple[int, int]:
    """How many swaps are drawn, and how many are not."""
    drawn = sum(len(strategy.dots) for strategy in dots.strategies)
    return drawn, sum(strategy.left_out for strategy in dots.strategies)


def _ladder_table(dots: LadderDots) -> Table:
    rows = tuple(
        (
            Cell(strategy.name),
            Cell(f"{dot.round}", figure=True),
            Cell(figures.table_seconds(dot.seconds), figure=True),
            Cell(dot.kind),
        )
        for strategy in dots.strategies
        for dot in strategy.dots
    )
    columns = (("round",), ("seconds",), ("in the figures",))
    legend = _listed(*_numbers(dots))
    return Table(f"{dots.scenario}: every swap, seconds", "strategy", columns, (rows,), legend=legend)

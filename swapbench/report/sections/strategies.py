"""Strategies side by side: one chart and one table for each scenario, and what each does and costs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from swapbench.base import figures as f
from swapbench.findings import Findings
from swapbench.findings.chart_data import LadderDots
from swapbench.findings.strategies import STOCK, Ladder, Rung
from swapbench.report.blocks import NOT_ON_A_PAGE, Cell, Chart, Charts, Line, Lines, Row, Section, Table
from swapbench.report.charts.run import ladder as draw_ladder
from swapbench.report.layout import columns, figure, row, section, spelt
from swapbench.report.sections import ARROW, RunView, drawn, listed
from swapbench.stats.estimate import Estimate


def strategies(run: RunView) -> Section:
    """Nothing where a run has one strategy."""
    found = run.findings
    alone: tuple[Line, ...] = ()
    if found.ladders:
        first = found.ladders[0].rungs[0].strategy
        command = f"swapbench report {found.facts.folder} --strategy {first}"
        alone = (Line("one alone", f"its phases, memory and work: {command}"),)
    return section(
        "strategies",
        "Strategies",
        *_side_by_side(run),
        Lines("What each does and costs", _manual(found)),
        Lines("", alone, on=NOT_ON_A_PAGE),
    )


def _side_by_side(run: RunView) -> Iterator[Charts | Table]:
    charts = {dots.scenario: dots for dots in run.pictures.ladders if any(s.dots for s in dots.strategies)}
    told = ""
    for ladder in run.findings.ladders:
        if ladder.scenario in charts:
            yield Charts((_chart(charts[ladder.scenario], ladder),))
        table = _ladder(ladder)
        # What the columns mean is said once.
        yield replace(table, legend="" if table.legend == told else table.legend)
        told = table.legend


def _chart(dots: LadderDots, ladder: Ladder) -> Chart:
    fastest = ladder.rungs[0]
    total = f" with {f.seconds(fastest.total.point)}" if fastest.total else ""
    against = against_stock(fastest)
    times = f", {against}" if against else ""
    number = sum(len(one.dots) for one in dots.strategies), sum(one.left_out for one in dots.strategies)
    rows = tuple(
        row(strategy.name, figure(f"{dot.round}"), figure(f.table_seconds(dot.seconds)), dot.kind)
        for strategy in dots.strategies
        for dot in strategy.dots
    )
    headings = columns("round", "seconds", "in the figures")
    title = f"{dots.scenario}: every swap, seconds"
    caption = (
        f"{ladder.from_model} {ARROW} {ladder.to_model}, page cache {ladder.page_cache}. "
        f"One dot a swap, a line at each median. The fastest is {fastest.strategy}{total}{times}."
        + drawn(*number, ", and what stands out")
    )
    table = Table(title, "strategy", headings, (rows,), legend=listed(*number))
    return Chart(ladder.scenario, caption, partial(draw_ladder, dots, ladder), table=table)


def against_stock(rung: Rung) -> str:
    """How many times as fast, where that can be told; empty for stock itself."""
    if rung.strategy == STOCK or rung.total_times is None:
        return ""
    if not rung.told_apart:
        return "not to be told apart from stock"
    return f"{f.times(rung.total_times.point)} as fast as stock"


def _ladder(ladder: Ladder) -> Table:
    legend = (
        "as fast: times as fast as stock, the median of the rounds' own ratios (95 % interval from 6 rounds "
        "on, else least and greatest); weights: loading without the tokenizer; peak: process memory without "
        "mapped files, and its share of the larger model"
    )
    limit = ["of limit"] if ladder.limit else []
    answer = ["first token at s"] if any(rung.to_first_token for rung in ladder.rungs) else []
    return Table(
        title=f"Strategies, {ladder.scenario}: {ladder.from_model} to {ladder.to_model}, {ladder.page_cache}",
        label="strategy",
        columns=columns("swap s", "as fast", "weights s", "as fast", *limit, "peak", *answer, "n"),
        groups=(tuple(_row(rung, bool(limit), bool(answer)) for rung in ladder.rungs),),
        legend=legend + (f"; limit: {ladder.limit}" if ladder.limit else ""),
    )


def _row(rung: Rung, limit: bool, answer: bool) -> Row:
    share = "" if rung.peak_share is None else f.percent(rung.peak_share)
    known = rung.peak_bytes is not None
    n = f"{rung.total.n if rung.total else 0}" + (f" (-{rung.left_out})" if rung.left_out else "")
    return row(
        rung.strategy,
        _figure(rung.total, f.table_seconds),
        _figure(rung.total_times, f.factor),
        _figure(rung.weights, f.table_seconds),
        _figure(rung.weights_times, f.factor),
        *([figure(spelt(rung.limit_share, f.percent))] if limit else []),
        Cell(spelt(rung.peak_bytes, f.memory), share=share if known else "", figure=True),
        *([_figure(rung.to_first_token, f.table_seconds)] if answer else []),
        figure(n),
    )


def _figure(value: Estimate | None, spell: Callable[[float], str]) -> Cell:
    """With the interval, even where its ends read alike."""
    if value is None:
        return figure(f.NOT_RECORDED)
    spread = f"({spell(value.low)}{f.EN_DASH}{spell(value.high)})"
    return Cell(spell(value.point), spread=spread, figure=True)


def _manual(findings: Findings) -> tuple[Line, ...]:
    """What each strategy does and costs, when not to use it, and what its loads said."""
    told: dict[str, Line] = {}
    for ladder in findings.ladders:
        for rung in ladder.rungs:
            before = told[rung.strategy].below if rung.strategy in told else ()
            said = tuple(f"{ladder.scenario}: {reason}" for reason in rung.reasons)
            kept = f" ({f.memory(rung.kept_bytes)} kept)" if rung.kept_bytes else ""
            text = f"{rung.does}; costs {rung.cost}{kept}; not {rung.avoid}"
            told[rung.strategy] = Line(rung.strategy, text, below=(*before, *said))
    return tuple(told.values())

"""Strategies side by side: one chart and one table for each scenario, and what each does and costs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from swapbench.base import figures as f
from swapbench.findings import Findings
from swapbench.findings.chart_data import LadderDots
from swapbench.findings.strategies import STOCK, Ladder, Rung
from swapbench.report.blocks import NOT_ON_A_PAGE, Cell, Chart, Charts, Line, Lines, Section, Table, section
from swapbench.report.charts.swaps import ladder as draw_ladder
from swapbench.report.sections.view import ARROW, RunView, drawn, listed
from swapbench.stats.estimate import Estimate


def strategies(run: RunView) -> Section:
    """Nothing where a run has one strategy."""
    found = run.findings
    return section(
        "strategies",
        "Strategies",
        *_side_by_side(run),
        Lines("What each does and costs", _manual(found)),
        Lines("", _one_alone(found), on=NOT_ON_A_PAGE),
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
    return Chart(
        title=ladder.scenario,
        caption=(
            f"{ladder.from_model} {ARROW} {ladder.to_model}, page cache {ladder.page_cache}. "
            f"One dot a swap, a line at each median. The fastest is {fastest.strategy}{total}{times}."
            + drawn(*_numbers(dots), ", and what stands out")
        ),
        spec=partial(draw_ladder, dots, ladder),
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
            Cell(f.table_seconds(dot.seconds), figure=True),
            Cell(dot.kind),
        )
        for strategy in dots.strategies
        for dot in strategy.dots
    )
    columns = (("round",), ("seconds",), ("in the figures",))
    legend = listed(*_numbers(dots))
    return Table(f"{dots.scenario}: every swap, seconds", "strategy", columns, (rows,), legend=legend)


def _ladder(ladder: Ladder) -> Table:
    legend = (
        "as fast: times as fast as stock, the median of the rounds' own ratios (95 % interval from 6 rounds "
        "on, else least and greatest); weights: loading without the tokenizer; peak: process memory without "
        "mapped files, and its share of the larger model"
    )
    if ladder.limit:
        legend += f"; limit: {ladder.limit}"
    return Table(
        title=f"Strategies, {ladder.scenario}: {ladder.from_model} to {ladder.to_model}, {ladder.page_cache}",
        label="strategy",
        columns=(
            ("swap s",),
            ("as fast",),
            ("weights s",),
            ("as fast",),
            *([("of limit",)] if ladder.limit else []),
            ("peak",),
            *([("first token at s",)] if _answers(ladder) else []),
            ("n",),
        ),
        groups=(tuple(_row(rung, ladder) for rung in ladder.rungs),),
        legend=legend,
    )


def against_stock(rung: Rung) -> str:
    """How many times as fast, where that can be told; empty for stock itself."""
    if rung.strategy == STOCK or rung.total_times is None:
        return ""
    if not rung.told_apart:
        return "not to be told apart from stock"
    return f"{f.times(rung.total_times.point)} as fast as stock"


def _answers(ladder: Ladder) -> bool:
    return any(rung.to_first_token for rung in ladder.rungs)


def _row(rung: Rung, ladder: Ladder) -> tuple[Cell, ...]:
    return (
        Cell(rung.strategy),
        _figure(rung.total, f.table_seconds),
        _figure(rung.total_times, f.factor),
        _figure(rung.weights, f.table_seconds),
        _figure(rung.weights_times, f.factor),
        *([_plain(_percent(rung.limit_share))] if ladder.limit else []),
        _peak(rung),
        *([_figure(rung.to_first_token, f.table_seconds)] if _answers(ladder) else []),
        _plain(f"{rung.total.n if rung.total else 0}" + (f" (-{rung.left_out})" if rung.left_out else "")),
    )


def _manual(findings: Findings) -> tuple[Line, ...]:
    """What each strategy does and costs, when not to use it, and what its loads said."""
    told: dict[str, Line] = {}
    for ladder in findings.ladders:
        for rung in ladder.rungs:
            before = told[rung.strategy].below if rung.strategy in told else ()
            said = tuple(f"{ladder.scenario}: {reason}" for reason in rung.reasons)
            told[rung.strategy] = Line(rung.strategy, _in_words(rung), below=(*before, *said))
    return tuple(told.values())


def _one_alone(findings: Findings) -> tuple[Line, ...]:
    """How to see the phases that this report leaves out."""
    if not findings.ladders:
        return ()
    first = findings.ladders[0].rungs[0].strategy
    command = f"swapbench report {findings.facts.folder} --strategy {first}"
    return (Line("one alone", f"its phases, memory and work: {command}"),)


def _in_words(rung: Rung) -> str:
    kept = f" ({f.memory(rung.kept_bytes)} kept)" if rung.kept_bytes else ""
    return f"{rung.does}; costs {rung.cost}{kept}; not {rung.avoid}"


def _figure(value: Estimate | None, spell: Callable[[float], str]) -> Cell:
    if value is None:
        return Cell(f.NOT_RECORDED, figure=True)
    spread = f"({spell(value.low)}{f.EN_DASH}{spell(value.high)})"
    return Cell(spell(value.point), spread=spread, figure=True)


def _peak(rung: Rung) -> Cell:
    if rung.peak_bytes is None:
        return _plain("")
    return Cell(f.memory(rung.peak_bytes), share=_percent(rung.peak_share), figure=True)


def _percent(share: float | None) -> str:
    return "" if share is None else f.percent(share)


def _plain(text: str) -> Cell:
    return Cell(text or f.NOT_RECORDED, figure=True)

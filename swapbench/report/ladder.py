"""Strategies side by side, as tables: one for each scenario, and one of what they cost."""

from collections.abc import Callable

from swapbench.base import figures as f
from swapbench.findings import Findings
from swapbench.findings.strategies import STOCK, Ladder, Rung
from swapbench.report.shapes import Cell, Line, Table
from swapbench.stats.estimate import Estimate


def ladders(findings: Findings) -> tuple[Table, ...]:
    """A table for each scenario of a run of several strategies, the fastest first."""
    return tuple(_ladder(ladder) for ladder in findings.ladders)


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


def manual(findings: Findings) -> tuple[Line, ...]:
    """What each strategy does and costs, when not to use it, and what its loads said."""
    told: dict[str, Line] = {}
    for ladder in findings.ladders:
        for rung in ladder.rungs:
            before = told[rung.strategy].below if rung.strategy in told else ()
            said = tuple(f"{ladder.scenario}: {reason}" for reason in rung.reasons)
            told[rung.strategy] = Line(rung.strategy, _in_words(rung), below=(*before, *said))
    return tuple(told.values())


def one_strategy(findings: Findings) -> tuple[Line, ...]:
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

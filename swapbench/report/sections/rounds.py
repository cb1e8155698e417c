"""What happened over the rounds of a run: every swap, drift, first swaps beside later ones, outliers."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.findings import Findings
from swapbench.findings.chart_data import Dots
from swapbench.findings.stability import Drift, FirstSwaps, Outlier
from swapbench.report.blocks import Cell, Chart, Charts, Line, Lines, Section, Table, section
from swapbench.report.charts.swaps import rounds as draw_rounds
from swapbench.report.sections.view import REQUEST_TO_FIRST_TOKEN, RunView, drawn, listed
from swapbench.report.text import sentence
from swapbench.stats.estimate import Estimate


def rounds(run: RunView) -> Section:
    """Every swap of every scenario that has more than one, and what can be said of their order."""
    return section(
        "rounds",
        "Over the rounds",
        Charts(tuple(_charts(run))),
        Lines("Within the run", within(run.findings)),
        Lines("Outliers, kept in every figure", outliers(run.findings)),
    )


def _charts(run: RunView) -> Iterator[Chart]:
    for dots in run.pictures.dots:
        if len(dots.dots) > 1:
            yield Chart(
                title=dots.name,
                caption=_dots_caption(dots),
                spec=partial(draw_rounds, dots),
                panel=True,
                table=_dots_table(dots),
            )


_FIGURE_NAMES = {"to_first_token": REQUEST_TO_FIRST_TOKEN, "total": "whole swap"}


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
    shown = drawn(len(dots.dots), dots.left_out, ", and what stands out")
    return sentence(", ".join(parts)) + shown


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
    legend = listed(len(dots.dots), dots.left_out)
    return Table(title, "round", (("seconds",), ("in the figures",)), (rows,), legend=legend)


# Enough to see what is going on; JSON has them all.
_MOST_OUTLIERS: Final = 10


def within(findings: Findings) -> tuple[Line, ...]:
    """The drift in one line, then every scenario whose first swaps differ visibly."""
    if not findings.counts.counted:
        return ()
    found = findings.drift.outcome in ("slower", "faster")
    drift = Line("drift", _drift(findings.drift), tone="doubt" if found else "plain")
    firsts = [entry for entry in findings.first_swaps if entry.differ]
    return (drift, *(Line(f"first swaps, {e.scenario}", _first(e), below=_hint(e, firsts)) for e in firsts))


# An interval that reaches from here on would say no more than that.
_TELLS_NOTHING: Final = 1.0


def _hint(entry: FirstSwaps, firsts: Sequence[FirstSwaps]) -> tuple[str, ...]:
    """Said once, below the last."""
    last = entry is firsts[-1]
    return ("every figure holds first swaps too; a warm-up round keeps them out",) if last else ()


def _drift(drift: Drift) -> str:
    if drift.change is None or drift.low is None or drift.high is None:
        return "not tested: needs 5 rounds, not counting each process's first"
    if drift.outcome == "none found" and drift.high > _TELLS_NOTHING:
        return f"can't be told from {figures.counted(drift.rounds, 'round')}: they scatter too much"
    low, point, high = (figures.change(abs(share)) for share in (drift.low, drift.change, drift.high))
    over = f"over {figures.counted(drift.rounds, 'round')}"
    if drift.outcome == "none found":
        return f"none found {over}; anything from {low} faster to {high} slower could hide (95 % interval)"
    least, most = (low, high) if drift.outcome == "slower" else (high, low)
    return f"{point} {drift.outcome} {over} (95 % interval {least} to {most})"


def _first(entry: FirstSwaps) -> str:
    return f"{_figure(entry.first)}, later ones {_figure(entry.later)}: {figures.times(entry.times)}"


def _figure(value: Estimate) -> str:
    return f"{figures.seconds(value.point)} ({figures.counted(value.n, 'swap')})"


def outliers(findings: Findings) -> tuple[Line, ...]:
    """Swaps that stand out from their scenario's, the farthest out first."""
    lines = [
        Line(f"{outlier.scenario}, round {outlier.round}", _outlier(outlier))
        for outlier in findings.outliers[:_MOST_OUTLIERS]
    ]
    more = len(findings.outliers) - len(lines)
    return (*lines, *([Line("", f"and {more} more: --format json has them all")] if more else []))


def _outlier(outlier: Outlier) -> str:
    text = f"{figures.seconds(outlier.seconds)}, {figures.times(outlier.times)} the median"
    if outlier.phase:
        side = "above" if outlier.phase_excess_s >= 0 else "below"
        apart = figures.seconds(abs(outlier.phase_excess_s))
        text += f"; most of that in {outlier.phase.replace('_', ' ')}, {apart} {side} its own"
    return text + ("; the first of its kind in its process" if outlier.first else "")

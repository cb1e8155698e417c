"""What happened over the rounds of a run: every swap, drift, first swaps, outliers; and what went wrong."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED, counted
from swapbench.findings import Findings, Problem
from swapbench.findings.anomalies import Drift, Failure
from swapbench.findings.chart_data import Dots
from swapbench.report.blocks import Cell, Chart, Charts, Line, Lines, Row, Section, Table, Tone
from swapbench.report.charts.run import rounds as draw_rounds
from swapbench.report.layout import columns, figure, row, section, sentence, spelt
from swapbench.report.sections import REQUEST_TO_FIRST_TOKEN, RunView, drawn, listed
from swapbench.stats.estimate import Estimate

_FIGURE_NAMES: Final = {"to_first_token": REQUEST_TO_FIRST_TOKEN, "total": "whole swap"}

# Enough to see what is going on; JSON has them all.
_MOST_OUTLIERS: Final = 10

# An interval that reaches from here on would say no more than that.
_TELLS_NOTHING: Final = 1.0


def rounds(run: RunView) -> Section:
    """Every swap of every scenario that has more than one, and what can be said of their order."""
    charts = tuple(map(_chart, (dots for dots in run.pictures.dots if len(dots.dots) > 1)))
    return section(
        "rounds",
        "Over the rounds",
        Charts(charts),
        Lines("Within the run", within(run.findings)),
        Lines("Outliers, kept in every figure", outliers(run.findings)),
    )


def _chart(dots: Dots) -> Chart:
    parts = [f"{_FIGURE_NAMES[dots.figure]}, one dot a swap"]
    if dots.estimate is not None:
        parts.append(f"median {figures.seconds(dots.estimate.point)} of {dots.estimate.n} (line)")
    if dots.interval is not None:
        low, high = figures.seconds(dots.interval.low), figures.seconds(dots.interval.high)
        parts.append(f"its {figures.percent(dots.interval.confidence)} interval {low} to {high} (band)")
    if any(dot.outlier for dot in dots.dots):
        parts.append("outliers ringed")
    if dots.without:
        parts.append(f"{counted(dots.without, 'failed swap')} without a dot")
    rows = tuple(
        row(
            f"round {dot.round}",
            figure(figures.table_seconds(dot.seconds)),
            dot.kind + (", outlier" if dot.outlier else ""),
        )
        for dot in dots.dots
    )
    number = len(dots.dots), dots.left_out
    title = f"{dots.name}: {_FIGURE_NAMES[dots.figure]}, seconds"
    table = Table(title, "round", columns("seconds", "in the figures"), (rows,), legend=listed(*number))
    caption = sentence(", ".join(parts)) + drawn(*number, ", and what stands out")
    return Chart(dots.name, caption, partial(draw_rounds, dots), panel=True, table=table)


def within(findings: Findings) -> tuple[Line, ...]:
    """The drift in one line, then every scenario whose first swaps differ visibly."""
    if not findings.counts.counted:
        return ()

    def spelled(value: Estimate) -> str:
        return f"{figures.seconds(value.point)} ({counted(value.n, 'swap')})"

    found = findings.drift.outcome in ("slower", "faster")
    lines = [Line("drift", _drift(findings.drift), tone="doubt" if found else "plain")]
    for entry in (entry for entry in findings.first_swaps if entry.differ):
        text = f"{spelled(entry.first)}, later ones {spelled(entry.later)}: {figures.times(entry.times)}"
        lines.append(Line(f"first swaps, {entry.scenario}", text))
    if len(lines) > 1:
        hint = "every figure holds first swaps too; a warm-up round keeps them out"
        lines[-1] = replace(lines[-1], below=(hint,))
    return tuple(lines)


def _drift(drift: Drift) -> str:
    if drift.change is None or drift.low is None or drift.high is None:
        return "not tested: needs 5 rounds, not counting each process's first"
    if drift.outcome == "none found" and drift.high > _TELLS_NOTHING:
        return f"can't be told from {counted(drift.rounds, 'round')}: they scatter too much"
    low, point, high = (figures.change(abs(share)) for share in (drift.low, drift.change, drift.high))
    over = f"over {counted(drift.rounds, 'round')}"
    if drift.outcome == "none found":
        return f"none found {over}; anything from {low} faster to {high} slower could hide (95 % interval)"
    least, most = (low, high) if drift.outcome == "slower" else (high, low)
    return f"{point} {drift.outcome} {over} (95 % interval {least} to {most})"


def outliers(findings: Findings) -> tuple[Line, ...]:
    """Swaps that stand out from their scenario's, the farthest out first."""
    lines = []
    for one in findings.outliers:
        text = f"{figures.seconds(one.seconds)}, {figures.times(one.times)} the median"
        if one.phase:
            side = "above" if one.phase_excess_s >= 0 else "below"
            apart = figures.seconds(abs(one.phase_excess_s))
            text += f"; most of that in {one.phase.replace('_', ' ')}, {apart} {side} its own"
        text += "; the first of its kind in its process" if one.first else ""
        lines.append(Line(f"{one.scenario}, round {one.round}", text))
    if (more := len(lines) - _MOST_OUTLIERS) > 0:
        lines[_MOST_OUTLIERS:] = [Line("", f"and {more} more: --format json has them all")]
    return tuple(lines)


# More than anyone reads; more rounds than these are told by their ends.
_MOST: Final = 200
_MOST_ROUNDS: Final = 6

_RECOVERED: Final = {
    "itself": "by itself",
    "swap": "once another swap was asked for",
    "restart": "once it was restarted",
}


def failures(run: RunView) -> Section:
    """Nothing where nothing went wrong."""
    found = run.findings
    symptoms = tuple(Line(symptom.kind, symptom.text, tone="bad") for symptom in found.symptoms)
    return section(
        "failures",
        "What went wrong",
        Lines("Symptoms of known faults", symptoms),
        _cost(found.failures) if found.failures else None,
        Lines("Swaps left out", problems(found)),
    )


def _cost(failed: Sequence[Failure]) -> Table:
    more = len(failed) - _MOST
    return Table(
        title="Cost of failure",
        label="",
        columns=columns(
            *("outcome", "old model\nanswers", "after", "caches\nreadable", "broken"),
            *("MLX active\ngrows by", "footprint\ngrows by"),
        ),
        groups=(tuple(map(_failure_row, failed[:_MOST])),),
        legend="broken: files that bear a cache's name and can't be read; grows by: settled afterwards, less "
        f"before{f'; {more} more are in swaps.csv' if more > 0 else ''}",
    )


def _failure_row(failure: Failure) -> Row:
    never = failure.back_s is None
    return row(
        f"{failure.scenario} (round {failure.round})",
        failure.status.replace("_", " "),
        _RECOVERED.get(failure.recovery, NOT_RECORDED),
        Cell("never", tone="bad") if never else spelt(failure.back_s, figures.seconds),
        spelt(failure.readable_caches, figures.count),
        spelt(failure.broken_caches, figures.count),
        spelt(failure.mlx_growth_bytes, figures.memory),
        spelt(failure.footprint_growth_bytes, figures.memory),
    )


def problems(findings: Findings) -> tuple[Line, ...]:
    """Failed, rolled back and invalid swaps with their reasons; what several rounds share is said once."""
    alike: dict[tuple[str, Line], list[Problem]] = {}
    for problem in findings.problems:
        alike.setdefault((problem.scenario, _fate(problem)), []).append(problem)
    lines = [replace(line, label=f"{_rounds(of)}, {scenario}") for (scenario, line), of in alike.items()]
    if (more := len(lines) - _MOST) > 0:
        lines[_MOST:] = [Line("", f"{more} more are in swaps.csv")]
    return tuple(lines)


def _fate(problem: Problem) -> Line:
    how = "failed, rolled back" if problem.kind == "rolled_back" else problem.kind
    took = f" in {figures.seconds(problem.rollback_s)}" if problem.rollback_s is not None else ""
    named = not problem.phase or problem.reason.startswith(problem.phase)
    phase = "" if named else f" in {problem.phase}"
    tone: Tone = "doubt" if problem.kind == "invalid" else "bad"
    return Line("", f"{how}{phase}{took}: {problem.reason or 'no reason was recorded'}", tone)


def _rounds(problems: Sequence[Problem]) -> str:
    """`round 3`, `rounds 0 (warm-up), 1, 2`; of many the ends."""
    names = [f"{problem.round}{' (warm-up)' if problem.warmup else ''}" for problem in problems]
    if len(names) > _MOST_ROUNDS:
        names = [*names[: _MOST_ROUNDS - 1], f"… {names[-1]}"]
    return f"round{'s' if len(problems) > 1 else ''} {', '.join(names)}"

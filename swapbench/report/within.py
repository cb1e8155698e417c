"""What happened within the run: drift, first swaps beside later ones, swaps that stand out."""

from collections.abc import Sequence
from typing import Final

from swapbench.base import figures
from swapbench.findings import Findings
from swapbench.findings.stability import Drift, FirstSwaps, Outlier
from swapbench.report.shapes import Line
from swapbench.stats.estimate import Estimate

# Enough to see what is going on; JSON and CSV have them all.
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
        return "not tested: that takes 5 rounds after a process's first"
    if drift.outcome == "none found" and drift.high > _TELLS_NOTHING:
        return f"not to be told from {figures.counted(drift.rounds, 'round')}: they scatter too much"
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
    return (*lines, *([Line("", f"and {more} more: --format csv has them all")] if more else []))


def _outlier(outlier: Outlier) -> str:
    text = f"{figures.seconds(outlier.seconds)}, {figures.times(outlier.times)} the median"
    if outlier.phase:
        side = "above" if outlier.phase_excess_s >= 0 else "below"
        apart = figures.seconds(abs(outlier.phase_excess_s))
        text += f"; most of that in {outlier.phase.replace('_', ' ')}, {apart} {side} its own"
    return text + ("; the first of its kind in its process" if outlier.first else "")

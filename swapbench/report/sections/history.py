"""A history: what was measured alike over many runs, and what changed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED
from swapbench.compare.series import LevelChange, Series, VersionChange
from swapbench.findings.runs import cell_name
from swapbench.report.blocks import Cell, Line, Lines, Section, Table, section
from swapbench.report.sections.view import ARROW, REQUEST_TO_FIRST_TOKEN
from swapbench.report.text import sparkline
from swapbench.stats.estimate import Estimate
from swapbench.stats.trend import LEAST_RUNS


def history_section(series: Sequence[Series], room: int) -> Section:
    """What is told of series of one setting.

    Args:
        room: characters for the line that shows a figure from run to run.
    """
    return section(
        "history",
        "",
        _table(series, room),
        Lines("Changes of level", tuple(_changes(series))),
        Lines("Drift within levels", tuple(_drifts(series))),
        Lines("Versions", tuple(_versions(series))),
    )


# Further back, the JSON has them.
_MOST_LINES: Final = 12

_FIGURES: Final = {
    "to_first_token": REQUEST_TO_FIRST_TOKEN,
    "total": "swap, total",
    "first_token": "first token after the swap",
}


def _table(series: Sequence[Series], room: int) -> Table:
    setting = series[0].setting
    several = len({one.strategy for one in series}) > 1
    return Table(
        title=f"{setting.machine}\n{setting.source} models, page cache {setting.page_cache}: "
        f"{_FIGURES.get(setting.figure, setting.figure)}, median of each run",
        label="scenario",
        columns=(
            ("runs",),
            ("oldest", "to latest"),
            ("median",),
            ("spread",),
            ("latest",),
            ("against", "level"),
        ),
        groups=(tuple(_row(one, several, room) for one in series),),
        legend="spread: how far runs lie from their level; against level: the latest run and those before it",
    )


def _row(series: Series, several: bool, room: int) -> tuple[Cell, ...]:
    seconds = [point.seconds for point in series.points]
    return (
        Cell(_name(series, several)),
        Cell(str(len(seconds))),
        Cell(sparkline(seconds, room)),
        Cell(figures.seconds(series.median_s)),
        Cell(f"±{series.trend.spread * 100:.1f} %" if len(seconds) > 1 else NOT_RECORDED, tone="quiet"),
        Cell(figures.seconds(seconds[-1]), tone="strong"),
        Cell(NOT_RECORDED if series.latest is None else figures.ratio_change(series.latest)),
    )


def _name(series: Series, several: bool) -> str:
    name = cell_name(series.scenario, series.strategy) if several else series.scenario
    return f"{name}: {', '.join(series.differs)}" if series.differs else name


def _changes(series: Sequence[Series]) -> Iterator[Line]:
    several = len({one.strategy for one in series}) > 1
    for one in series:
        name = _name(one, several)
        yield from (
            Line(name, _change(change), below=_beside(change)) for change in one.changes[-_MOST_LINES:]
        )
        hidden = len(one.changes) - _MOST_LINES
        if hidden > 0:
            yield Line(name, f"and {figures.counted(hidden, 'change')} before; --json has all", tone="quiet")
        if not one.changes:
            yield Line(name, _none(len(one.points)), tone="quiet")


def _none(runs: int) -> str:
    if runs < 2 * LEAST_RUNS:
        return f"not looked for in {figures.counted(runs, 'run')}: {2 * LEAST_RUNS} are needed"
    return f"none found in {runs} runs"


def _change(change: LevelChange) -> str:
    levels = f"{figures.seconds(change.before_s)} {ARROW} {figures.seconds(change.after_s)}"
    return f"{change.started_at:%Y-%m-%d}  {levels}, {_interval(change.ratio)}, since run {change.run_id}"


def _interval(ratio: Estimate) -> str:
    point, low, high = map(figures.ratio_change, (ratio.point, ratio.low, ratio.high))
    return f"{point} ({low} to {high})"


def _beside(change: LevelChange) -> tuple[str, ...]:
    return (f"within two runs of it: {', '.join(change.versions)}",) if change.versions else ()


def _drifts(series: Sequence[Series]) -> Iterator[Line]:
    """Only those that are none by chance: nearly every slope is a little off level."""
    several = len({one.strategy for one in series}) > 1
    for one in series:
        drift = one.trend.drift
        if drift is not None and (drift.low > 0 or drift.high < 0):
            low, point, high = (figures.share_change(share) for share in (drift.low, drift.point, drift.high))
            yield Line(_name(one, several), f"{point} per 100 runs ({low} to {high})")


def _versions(series: Iterable[Series]) -> Iterator[Line]:
    found: dict[str, VersionChange] = {change.run_id: change for one in series for change in one.versions}
    ordered = sorted(found.values(), key=lambda change: change.started_at)
    if len(ordered) > _MOST_LINES:
        yield Line("before", f"{len(ordered) - _MOST_LINES} changes; --json has all", tone="quiet")
    for change in ordered[-_MOST_LINES:]:
        yield Line(
            f"{change.started_at:%Y-%m-%d}", f"{', '.join(change.versions)}, since run {change.run_id}"
        )

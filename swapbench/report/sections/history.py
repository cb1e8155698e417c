"""A history: what was measured alike over many runs, and what changed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from swapbench.base.figures import NOT_RECORDED, counted, ratio_change, seconds, share_change
from swapbench.compare.history import LevelChange, Series, VersionChange
from swapbench.findings.runs import cell_name
from swapbench.report.blocks import Cell, Line, Lines, Row, Section, Table
from swapbench.report.layout import columns, row, section, sparkline, spelt
from swapbench.report.sections import ARROW, REQUEST_TO_FIRST_TOKEN
from swapbench.stats.trend import LEAST_RUNS

# Further back, the JSON has them.
_MOST_LINES: Final = 12

_FIGURES: Final = {
    "to_first_token": REQUEST_TO_FIRST_TOKEN,
    "total": "swap, total",
    "first_token": "first token after the swap",
}


def history_section(series: Sequence[Series], room: int) -> Section:
    """What is told of series of one setting.

    Args:
        room: characters for the line that shows a figure from run to run.
    """
    setting, named = series[0].setting, [*zip(_names(series), series, strict=True)]
    table = Table(
        title=f"{setting.machine}\n{setting.source} models, page cache {setting.page_cache}: "
        f"{_FIGURES.get(setting.figure, setting.figure)}, median of each run",
        label="scenario",
        columns=columns("runs", "oldest\nto latest", "median", "spread", "latest", "against\nlevel"),
        groups=(tuple(_row(name, one, room) for name, one in named),),
        legend="spread: how far runs lie from their level; against level: the latest run and those before it",
    )
    return section(
        "history",
        "",
        table,
        Lines("Changes of level", tuple(line for named_one in named for line in _changes(*named_one))),
        Lines("Drift within levels", tuple(line for named_one in named for line in _drifts(*named_one))),
        Lines("Versions", tuple(_versions(series))),
    )


def _names(series: Sequence[Series]) -> Iterator[str]:
    several = len({one.strategy for one in series}) > 1
    for one in series:
        name = cell_name(one.scenario, one.strategy) if several else one.scenario
        yield f"{name}: {', '.join(one.differs)}" if one.differs else name


def _row(name: str, series: Series, room: int) -> Row:
    taken = [point.seconds for point in series.points]
    spread = f"±{series.trend.spread * 100:.1f} %" if len(taken) > 1 else NOT_RECORDED
    return row(
        *(name, str(len(taken)), sparkline(taken, room), seconds(series.median_s)),
        Cell(spread, tone="quiet"),
        Cell(seconds(taken[-1]), tone="strong"),
        spelt(series.latest, ratio_change),
    )


def _changes(name: str, series: Series) -> Iterator[Line]:
    for change in series.changes[-_MOST_LINES:]:
        beside = f"within two runs of it: {', '.join(change.versions)}"
        yield Line(name, _change(change), below=(beside,) if change.versions else ())
    hidden, runs = len(series.changes) - _MOST_LINES, len(series.points)
    if hidden > 0:
        yield Line(name, f"and {counted(hidden, 'change')} before; --json has all", tone="quiet")
    if not series.changes:
        few = f"not looked for in {counted(runs, 'run')}: {2 * LEAST_RUNS} are needed"
        yield Line(name, few if runs < 2 * LEAST_RUNS else f"none found in {runs} runs", tone="quiet")


def _change(change: LevelChange) -> str:
    levels = f"{seconds(change.before_s)} {ARROW} {seconds(change.after_s)}"
    point, low, high = map(ratio_change, (change.ratio.point, change.ratio.low, change.ratio.high))
    return f"{change.started_at:%Y-%m-%d}  {levels}, {point} ({low} to {high}), since run {change.run_id}"


def _drifts(name: str, series: Series) -> Iterator[Line]:
    """Only those that are none by chance: nearly every slope is a little off level."""
    drift = series.trend.drift
    if drift is not None and (drift.low > 0 or drift.high < 0):
        low, point, high = map(share_change, (drift.low, drift.point, drift.high))
        yield Line(name, f"{point} per 100 runs ({low} to {high})")


def _versions(series: Iterable[Series]) -> Iterator[Line]:
    found: dict[str, VersionChange] = {change.run_id: change for one in series for change in one.versions}
    ordered = sorted(found.values(), key=lambda change: change.started_at)
    if len(ordered) > _MOST_LINES:
        yield Line("before", f"{len(ordered) - _MOST_LINES} changes; --json has all", tone="quiet")
    for change in ordered[-_MOST_LINES:]:
        text = f"{', '.join(change.versions)}, since run {change.run_id}"
        yield Line(f"{change.started_at:%Y-%m-%d}", text)

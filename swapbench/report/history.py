"""A history for people at a terminal, and for programs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from rich.console import Console

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED
from swapbench.compare.series import LevelChange, Past, Series, Setting, VersionChange
from swapbench.findings.runs import cell_name
from swapbench.report.json_document import as_document
from swapbench.report.shapes import Cell, Line, Table
from swapbench.report.sparkline import sparkline
from swapbench.report.tables import ARROW, REQUEST_TO_FIRST_TOKEN
from swapbench.report.terminal import fits, print_section, print_table
from swapbench.stats.estimate import Estimate
from swapbench.stats.trend import LEAST_RUNS

# 1: first published form.
HISTORY_VERSION: Final = 1

_WIDEST, _NARROWEST = 72, 8

# Further back, the JSON has them.
_MOST_LINES: Final = 12

_FIGURES: Final = {
    "to_first_token": REQUEST_TO_FIRST_TOKEN,
    "total": "swap, total",
    "first_token": "first token after the swap",
}


def print_history(past: Past, console: Console) -> None:
    """Print a table for all that was measured alike, with what changed below it."""
    for setting, group in groupby(past.series, key=lambda series: series.setting):
        series = list(group)
        print_table(_widest(setting, series, console), console)
        print_section("Changes of level", tuple(_changes(series)), console)
        print_section("Drift within levels", tuple(_drifts(series)), console)
        print_section("Versions", tuple(_versions(series)), console)


def print_baselines(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A row for each baseline: what it keeps of which experiments."""
    cells = tuple(
        (
            Cell(row["name"]),
            Cell(", ".join(row["experiments"])),
            Cell(str(row["runs"]), figure=True),
            Cell(f"{datetime.fromisoformat(row['latest']):%Y-%m-%d %H:%M}" if row["latest"] else ""),
        )
        for row in rows
    )
    columns = (("experiment",), ("runs",), ("latest (UTC)",))
    print_table(Table("Baselines", "baseline", columns, (cells,)), console)


def history_to_json(past: Past) -> str:
    """One document, documented in docs/history.md."""
    left_out = [{"folder": str(run.folder), "why": run.why} for run in past.left_out]
    return as_document({"history_version": HISTORY_VERSION, **asdict(past), "left_out": left_out})


def left_out(past: Past) -> Iterator[str]:
    """A line for each reason why runs are left out, most frequent first."""
    reasons: dict[str, list[str]] = {}
    for run in past.left_out:
        why = run.why.removeprefix(f"{run.folder}/")
        reasons.setdefault(why, []).append(str(run.folder))
    for why, folders in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        others = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        yield f"left out: {folders[0]}{others}: {why}"


def _widest(setting: Setting, series: Sequence[Series], console: Console) -> Table:
    """The table with as much room for its sparklines as the console has."""
    for room in range(_WIDEST, _NARROWEST, -2):
        table = _table(setting, series, room)
        if fits(table, console):
            return table
    return _table(setting, series, _NARROWEST)


def _table(setting: Setting, series: Sequence[Series], room: int) -> Table:
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

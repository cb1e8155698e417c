"""From the points of many runs to series: only what is comparable stands in one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Final

from swapbench.compare.history import History, LeftOut, Point
from swapbench.stats.estimate import Estimate
from swapbench.stats.trend import Trend, trend_of

# A change is placed a run or two from where it came about: what changed is looked for that far around it.
_REACH: Final = 2

_ARROW: Final = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True)
class Setting:
    """Machine, source of the models, page cache and figure: what whole tables of series share."""

    machine: str
    source: str
    page_cache: str
    figure: str


@dataclass(frozen=True)
class SeriesPoint:
    """A run in a series: the median of its counted swaps."""

    run_id: str
    started_at: datetime
    seconds: float
    swaps: int


@dataclass(frozen=True)
class LevelChange:
    """From this run on the level is another one. `versions` is what else changed within two runs of it."""

    run_id: str
    started_at: datetime
    before_s: float
    after_s: float
    ratio: Estimate
    versions: tuple[str, ...]


@dataclass(frozen=True)
class VersionChange:
    """From this run on, other versions."""

    run_id: str
    started_at: datetime
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """One scenario under one strategy over comparable runs, oldest first.

    `differs` are the settings in which it differs from its siblings. `latest` is the latest run against the
    median of those before it at its level; None with a single run.
    """

    scenario: str
    strategy: str
    setting: Setting
    differs: tuple[str, ...]
    points: tuple[SeriesPoint, ...]
    median_s: float
    latest: float | None
    trend: Trend
    changes: tuple[LevelChange, ...]
    versions: tuple[VersionChange, ...]


@dataclass(frozen=True)
class Past:
    """What a history shows: series, and the runs that are in none."""

    experiment: str
    runs: int
    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]


_Group = list[Point]


def analyse_history(history: History, last: int | None = None) -> Past:
    """Every series of a history, of its `last` runs at most; points come oldest first."""
    groups: dict[tuple[object, ...], _Group] = {}
    for point in history.points:
        groups.setdefault(_identity(point), []).append(point)
    kept = [group if last is None else group[-last:] for group in groups.values()]
    series = [_series(group, kept) for group in kept]
    return Past(history.experiment, history.runs, tuple(sorted(series, key=_order)), history.left_out)


def _identity(point: Point) -> tuple[object, ...]:
    return _setting(point), point.scenario, point.strategy, point.fingerprint


def _setting(point: Point) -> Setting:
    return Setting(point.run.machine, point.run.source, point.page_cache, point.figure)


def _order(series: Series) -> tuple[object, ...]:
    setting = series.setting
    where = (setting.machine, setting.source, setting.page_cache, setting.figure)
    return (*where, series.scenario, series.strategy, series.differs)


def _series(group: Sequence[Point], groups: Iterable[Sequence[Point]]) -> Series:
    first = group[0]
    seconds = [point.seconds for point in group]
    trend = trend_of(seconds)
    since = trend.changes[-1].at if trend.changes else 0
    before = seconds[since:-1]
    return Series(
        scenario=first.scenario,
        strategy=first.strategy,
        setting=_setting(first),
        differs=_differs(first, [other[0] for other in groups]),
        points=tuple(SeriesPoint(p.run.run_id, p.run.started_at, p.seconds, p.swaps) for p in group),
        median_s=median(seconds),
        latest=seconds[-1] / median(before) if before and median(before) > 0 else None,
        trend=trend,
        changes=tuple(_changes(group, trend)),
        versions=tuple(_versions(group)),
    )


def _differs(point: Point, all_points: Iterable[Point]) -> tuple[str, ...]:
    """The settings that tell this series from others of the same name."""
    own = dict(point.fingerprint)
    siblings = [
        dict(other.fingerprint)
        for other in all_points
        if (_setting(other), other.scenario, other.strategy)
        == (_setting(point), point.scenario, point.strategy)
    ]
    return tuple(
        f"{key} {value}" for key, value in own.items() if any(other.get(key) != value for other in siblings)
    )


def _changes(group: Sequence[Point], trend: Trend) -> Iterator[LevelChange]:
    levels = zip(trend.levels[:-1], trend.levels[1:], strict=True)
    for change, (before_s, after_s) in zip(trend.changes, levels, strict=True):
        run = group[change.at].run
        around = group[max(0, change.at - 1 - _REACH)], group[min(len(group) - 1, change.at + _REACH)]
        versions = _between(around[0].run.versions, around[1].run.versions)
        yield LevelChange(run.run_id, run.started_at, before_s, after_s, change.ratio, versions)


def _versions(group: Sequence[Point]) -> Iterator[VersionChange]:
    for old, new in pairwise(group):
        if old.run.versions != new.run.versions:
            changed = _between(old.run.versions, new.run.versions)
            yield VersionChange(new.run.run_id, new.run.started_at, changed)


def _between(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    names = dict.fromkeys((*old, *new))
    return tuple(
        f"{name} {old.get(name, 'unknown')} {_ARROW} {new.get(name, 'unknown')}"
        for name in names
        if old.get(name) != new.get(name)
    )

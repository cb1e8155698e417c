"""Past runs, of results folders and of baselines: the comparable stand in one series, with what changed.

A baseline is a results folder of its own, made for git: results/baselines/NAME/EXPERIMENT/RUN, each run with
its run.json and its tables.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from pydantic_core import to_json

from swapbench.base.errors import IncomparableError, ResultsError, UsageError, did_you_mean
from swapbench.base.files import write_atomically
from swapbench.compare.fingerprint import circumstances, identity, of_cell, settings, versions_of
from swapbench.machine.environment import Machine
from swapbench.spec.experiment import Experiment
from swapbench.store import KEPT, RESULTS_VERSION, Run, RunInfo, damage, experiment_in, raw_files, read_info
from swapbench.store.tables import FIGURES, HEADLINE, medians

if TYPE_CHECKING:
    from swapbench.stats.estimate import Estimate
    from swapbench.stats.trend import Trend

BASELINES: Final = "baselines"

_NO_SWAP: Final = "no swap that counts: failed, invalid, a warm-up, or of an A/B comparison"

# A change is placed a run or two from where it came about: what changed is looked for that far around it.
_REACH: Final = 2

_ARROW: Final = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True, order=True)
class Setting:
    """Machine, source of the models, page cache and figure: what whole tables of series share."""

    machine: str
    source: str
    page_cache: str
    figure: str


@dataclass(frozen=True)
class Point:
    """The median of a run's counted swaps in one scenario under one strategy, in seconds.

    `fingerprint` is what points of one series share, aspect by aspect, sorted.
    """

    run_id: str
    started_at: datetime
    versions: Mapping[str, str]
    setting: Setting
    scenario: str
    strategy: str
    fingerprint: tuple[tuple[str, str], ...]
    seconds: float
    swaps: int


@dataclass(frozen=True)
class LeftOut:
    """A run that is in no figure, and why."""

    folder: Path
    why: str


@dataclass(frozen=True)
class History:
    """Points in the order in which their runs began; `runs` counts all runs, those left out among them."""

    experiment: str
    runs: int
    points: tuple[Point, ...]
    left_out: tuple[LeftOut, ...]


def read_history(folders: Sequence[Path], experiment: str, figure: str = HEADLINE) -> History:
    """A figure of every run of an experiment in the results folders.

    `headline` is, run by run, from swap request to first token where all counted swaps have it, and the total
    else.

    Raises:
        UsageError: there is no such folder, no run of the experiment, or no such figure.
    """
    if figure not in (HEADLINE, *FIGURES):
        raise UsageError(f'no figure "{figure}"; {did_you_mean(figure, FIGURES)}')
    found = _run_folders(folders, experiment)
    points: list[Point] = []
    left_out: list[LeftOut] = []
    reader = _Reader(figure)
    for folder in found:
        try:
            points += reader.points(folder)
        except ResultsError as error:
            left_out.append(LeftOut(folder, str(error)))
    points.sort(key=lambda point: (point.started_at, point.run_id))
    return History(experiment, len(found), tuple(points), tuple(left_out))


def only(history: History, scenario: str | None = None, strategy: str | None = None) -> History:
    """What a history says of one scenario, one strategy, or both.

    Raises:
        UsageError: it has no point of such a name.
    """
    points = history.points
    for kind, wanted in (("scenario", scenario), ("strategy", strategy)):
        if wanted is None:
            continue
        known = {getattr(point, kind) for point in points}
        if wanted not in known:
            raise UsageError(f'no {kind} "{wanted}" in this history; {did_you_mean(wanted, known)}')
        points = tuple(point for point in points if getattr(point, kind) == wanted)
    return replace(history, points=points)


def _run_folders(folders: Sequence[Path], experiment: str) -> list[Path]:
    found: list[Path] = []
    for root in folders:
        if len(folders) > 1 and not root.is_dir():
            raise UsageError(f"{root}: no such folder")
        if experiment not in ("", "..", *KEPT) and Path(experiment).name == experiment:
            found += _inside(root / experiment)
    if found:
        return found
    where = " or ".join(map(str, folders))
    known = [folder.name for root in folders for folder in _inside(root) if folder.name not in KEPT]
    hint = did_you_mean(experiment, known) if known else "`swapbench run quick` makes one"
    raise UsageError(f'no run of "{experiment}" under {where}; {hint}')


def _inside(folder: Path) -> list[Path]:
    try:
        return [Path(path) for path in sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())]
    except OSError:
        return []


class _Reader:
    """Reads runs one after another; what thousands of them share is worked out once."""

    def __init__(self, figure: str) -> None:
        self._figure = figure
        self._seen: set[tuple[str, datetime, Machine]] = set()
        self._experiments: dict[bytes, Experiment] = {}
        self._cells: dict[tuple[int, str, str], tuple[Experiment, dict[str, str]]] = {}

    def points(self, folder: Path) -> Iterator[Point]:
        """A run's points; ResultsError says why it is in no history."""
        info = _info(folder)
        raw = to_json(info.experiment)
        if raw not in self._experiments:
            self._experiments[raw] = experiment_in(info, folder)
        experiment = self._experiments[raw]
        copied = (info.run_id, info.started_at, info.machine)
        if changed := damage(folder, info):
            raise ResultsError(changed)
        if info.transcribed_from:
            raise ResultsError("transcribed, not measured")
        if info.part_of:
            raise ResultsError(f"part of a {info.part_of}")
        if copied in self._seen:
            raise ResultsError("a copy of a run that is there already")
        self._seen.add(copied)
        found = medians(folder, self._figure)
        if not found:
            but = "" if self._figure == HEADLINE else f"; or not each has its {self._figure}"
            raise ResultsError(f"{_NO_SWAP}{but}")
        begun, versions = info.started_at, versions_of(info)
        device = f", MLX on {info.worker.device}" if info.worker and info.worker.device else ""
        source = "scripted" if experiment.target == "scripted" else ", ".join(info.sources())
        for row in found:
            key = (id(experiment), row.scenario, row.strategy)
            if key not in self._cells:
                cell = of_cell(experiment, row.scenario, row.strategy)
                self._cells[key] = cell, settings(cell)
            cell, said = self._cells[key]
            page_cache = said["page cache"].partition(" (")[0] or str(experiment.page_cache)
            yield Point(
                run_id=info.run_id,
                started_at=begun if begun.tzinfo else begun.replace(tzinfo=UTC),
                versions=versions,
                setting=Setting(identity(info.machine) + device, source, page_cache, row.figure),
                scenario=row.scenario,
                strategy=row.strategy,
                fingerprint=tuple(sorted((circumstances(info, cell.model_names()) | said).items())),
                seconds=row.seconds,
                swaps=row.swaps,
            )


def _info(folder: Path) -> RunInfo:
    """As `read_info`, in a third of the time where there is nothing to complain of."""
    try:
        info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
    except (OSError, ValidationError):
        return read_info(folder)
    return info if info.schema_version <= RESULTS_VERSION else read_info(folder)


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
    ratio: "Estimate"
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
    trend: "Trend"
    changes: tuple[LevelChange, ...]
    versions: tuple[VersionChange, ...]


@dataclass(frozen=True)
class Past:
    """What a history shows: series, and the runs that are in none."""

    experiment: str
    runs: int
    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]


def analyse_history(history: History, last: int | None = None) -> Past:
    """Every series of a history, of its `last` runs at most; points come oldest first."""
    named: dict[tuple[Setting, str, str], dict[object, list[Point]]] = {}
    for point in history.points:
        alike = named.setdefault((point.setting, point.scenario, point.strategy), {})
        alike.setdefault(point.fingerprint, []).append(point)
    series: list[Series] = []
    for alike in named.values():
        siblings = [dict(points[0].fingerprint) for points in alike.values()]
        series += [_series(points[-last:] if last else points, siblings) for points in alike.values()]
    series.sort(key=lambda one: (one.setting, one.scenario, one.strategy, one.differs))
    return Past(history.experiment, history.runs, tuple(series), history.left_out)


def _series(points: Sequence[Point], siblings: Sequence[Mapping[str, str]]) -> Series:
    from swapbench.stats.trend import trend_of

    first = points[0]
    seconds = [point.seconds for point in points]
    trend = trend_of(seconds)
    before = seconds[trend.changes[-1].at if trend.changes else 0 : -1]
    return Series(
        scenario=first.scenario,
        strategy=first.strategy,
        setting=first.setting,
        differs=tuple(
            f"{key} {value}"
            for key, value in first.fingerprint
            if any(other.get(key) != value for other in siblings)
        ),
        points=tuple(SeriesPoint(p.run_id, p.started_at, p.seconds, p.swaps) for p in points),
        median_s=median(seconds),
        latest=seconds[-1] / median(before) if before and median(before) > 0 else None,
        trend=trend,
        changes=tuple(_changes(points, trend)),
        versions=tuple(
            VersionChange(new.run_id, new.started_at, _between(old, new))
            for old, new in pairwise(points)
            if old.versions != new.versions
        ),
    )


def _changes(points: Sequence[Point], trend: "Trend") -> Iterator[LevelChange]:
    for change, (before_s, after_s) in zip(trend.changes, pairwise(trend.levels), strict=True):
        point = points[change.at]
        around = points[max(0, change.at - 1 - _REACH) : change.at + _REACH + 1]
        versions = _between(around[0], around[-1])
        yield LevelChange(point.run_id, point.started_at, before_s, after_s, change.ratio, versions)


def _between(old: Point, new: Point) -> tuple[str, ...]:
    told = {name: (old.versions.get(name), new.versions.get(name)) for name in (*old.versions, *new.versions)}
    return tuple(
        f"{name} {was or 'unknown'} {_ARROW} {now or 'unknown'}"
        for name, (was, now) in told.items()
        if was != now
    )


def baselines(results: Path) -> list[str]:
    """The baselines that there are."""
    return sorted({path.parents[2].name for path in (results / BASELINES).glob("*/*/*/run.json")})


def baseline_folder(results: Path, name: str) -> Path:
    """The results folder that a baseline is.

    Raises:
        IncomparableError: there is no such baseline.
    """
    known = baselines(results)
    if name not in known:
        raise IncomparableError(
            f'no baseline "{name}" under {results / BASELINES}; {did_you_mean(name, known)}; '
            f"`swapbench baseline save {name}` makes one"
        )
    return results / BASELINES / name


def experiments_in(baseline: Path) -> list[str]:
    """The experiments that a baseline keeps runs of."""
    return sorted({path.parents[1].name for path in baseline.glob("*/*/run.json")})


def keep(results: Path, name: str, runs: Iterable[Run]) -> tuple[int, int]:
    """Add runs to a baseline; returns how many are new, and how many there are now. A run is kept once.

    Raises:
        UsageError: the name can't be a folder's; or a run did not end well, or compares two arms.
        ResultsError: a run's files can't be read.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise UsageError(f'"{name}": a baseline is named by letters, digits, ".", "_" and "-"')
    chosen = list(runs)
    for run in chosen:
        info = run.info
        if info.part_of:
            raise UsageError(f"{run.folder}: is part of a {info.part_of}; a baseline keeps whole runs")
        if info.arms:
            raise UsageError(f"{run.folder}: has two arms; a baseline keeps runs of one thing")
        if info.status != "complete" or info.transcribed_from:
            state = "transcribed" if info.transcribed_from else info.status
            raise UsageError(f"{run.folder}: is {state}; a baseline keeps complete runs that were measured")
    baseline = results / BASELINES / name
    new = 0
    for run in chosen:
        place = baseline / run.info.experiment_name / run.info.run_id
        if not (place / "run.json").exists():
            new += 1
            place.mkdir(parents=True, exist_ok=True)
            files = raw_files(run.folder)
            # run.json comes last: without it nobody takes the folder for a run.
            for file in sorted(files, key=lambda file: file == "run.json"):
                write_atomically(place / file, files[file])
    return new, len(list(baseline.glob("*/*/run.json")))

"""The runs of one experiment over time, from any number of results folders."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import to_json

from swapbench.base.errors import ResultsError, UsageError, did_you_mean
from swapbench.compare.conditions import Conditions, conditions_of
from swapbench.machine.environment import Machine
from swapbench.spec.experiment import Experiment
from swapbench.store import KEPT, RESULTS_VERSION, RunInfo, damage, experiment_in, read_info
from swapbench.store.medians import FIGURES, HEADLINE, Median, medians

_NO_SWAP: Final = "no swap that counts: failed, invalid, a warm-up, or of an A/B comparison"


@dataclass(frozen=True)
class PastRun:
    """One run of the past, as far as a history needs to know it."""

    run_id: str
    folder: Path
    started_at: datetime
    machine: str
    source: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """The median of a run's counted swaps in one scenario under one strategy, in seconds."""

    run: PastRun
    scenario: str
    strategy: str
    conditions: Conditions
    figure: str
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


@dataclass(frozen=True)
class _Opened:
    run: PastRun
    experiment: Experiment


def read_history(folders: Sequence[Path], experiment: str, figure: str = HEADLINE) -> History:
    """A figure of every run of an experiment in the results folders.

    `headline` is, run by run, from swap request to first token where all counted swaps have it, and the total
    else.

    Raises:
        UsageError: there is no such folder, no run of the experiment, or no such figure.
        ResultsError: the tables can't be gathered, as on a full disk.
    """
    if figure not in (HEADLINE, *FIGURES):
        raise UsageError(f'no figure "{figure}"; {did_you_mean(figure, FIGURES)}')
    folders_of_runs = _run_folders(folders, experiment)
    left_out: dict[Path, str] = {}
    runs = _opened(folders_of_runs, left_out)
    found = medians([opened.run.folder for opened in runs], figure)
    left_out |= {runs[number].run.folder: why for number, why in found.unreadable.items()}
    silent = set(range(len(runs))) - {row.number for row in found.rows} - set(found.unreadable)
    why = _NO_SWAP if figure == HEADLINE else f"{_NO_SWAP}; or not each has its {figure}"
    left_out |= {runs[number].run.folder: why for number in sorted(silent)}
    points = _points(runs, found.rows)
    return History(
        experiment=experiment,
        runs=len(folders_of_runs),
        points=tuple(sorted(points, key=lambda point: (point.run.started_at, point.run.run_id))),
        left_out=tuple(LeftOut(folder, why) for folder, why in left_out.items()),
    )


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


def _points(runs: Sequence[_Opened], rows: Sequence[Median]) -> list[Point]:
    conditions: dict[tuple[int, str, str], Conditions] = {}
    points = []
    for row in rows:
        opened = runs[row.number]
        # Thousands of runs share a few experiments, one object each.
        key = (id(opened.experiment), row.scenario, row.strategy)
        if key not in conditions:
            conditions[key] = conditions_of(opened.experiment, row.scenario, row.strategy)
        points.append(
            Point(opened.run, row.scenario, row.strategy, conditions[key], row.figure, row.seconds, row.swaps)
        )
    return points


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


def _opened(folders: Sequence[Path], left_out: dict[Path, str]) -> list[_Opened]:
    """Each run once, wherever copies of it lie."""
    experiments: dict[bytes, Experiment] = {}
    opened: list[_Opened] = []
    seen: set[tuple[str, datetime, Machine]] = set()
    for folder in folders:
        try:
            info = _info(folder)
            # Thousands of runs carry out the same few experiments: each is checked once.
            raw = to_json(info.experiment)
            if raw not in experiments:
                experiments[raw] = experiment_in(info, folder)
            changed = damage(folder, info)
        except ResultsError as error:
            left_out[folder] = str(error)
            continue
        key = (info.run_id, info.started_at, info.machine)
        if changed:
            left_out[folder] = changed
        elif info.transcribed_from:
            left_out[folder] = "transcribed, not measured"
        elif info.part_of:
            left_out[folder] = f"part of a {info.part_of}"
        elif key in seen:
            left_out[folder] = "a copy of a run that is there already"
        else:
            seen.add(key)
            opened.append(_Opened(_past(folder, info, experiments[raw]), experiments[raw]))
    return opened


def _info(folder: Path) -> RunInfo:
    """As `read_info`, in a third of the time where there is nothing to complain of."""
    try:
        info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
    except (OSError, ValidationError):
        return read_info(folder)
    return info if info.schema_version <= RESULTS_VERSION else read_info(folder)


def _past(folder: Path, info: RunInfo, experiment: Experiment) -> PastRun:
    begun = info.started_at
    return PastRun(
        run_id=info.run_id,
        folder=folder,
        started_at=begun if begun.tzinfo else begun.replace(tzinfo=UTC),
        machine=_identity(info.machine, info.worker.device if info.worker else ""),
        source="scripted" if experiment.target == "scripted" else ", ".join(info.sources()),
        versions=_versions(info),
    )


@cache
def _identity(machine: Machine, device: str) -> str:
    """The machine without its system's release: that is a version, and versions change."""
    described = machine.model_copy(update={"release": ""}).describe()
    return f"{described}, MLX on {device}" if device else described


def _versions(info: RunInfo) -> dict[str, str]:
    """Whatever may have changed on a machine between two runs."""
    versions = {"swapbench": info.swapbench_version}
    if info.worker:
        versions |= {**info.worker.versions, "python": info.worker.python}
    versions[info.machine.system] = info.machine.release
    return {name: version for name, version in versions.items() if version}

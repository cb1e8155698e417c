"""Past runs: those of one experiment in any number of results folders, and those kept in a baseline.

A baseline is a results folder of its own, made for git: results/baselines/NAME/EXPERIMENT/RUN, each run with
its run.json and its tables.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import to_json

from swapbench.base.errors import IncomparableError, ResultsError, UsageError, did_you_mean
from swapbench.base.files import write_atomically
from swapbench.compare.fingerprint import circumstances, identity, of_cell, settings, versions_of
from swapbench.machine.environment import Machine
from swapbench.spec.experiment import Experiment
from swapbench.store import KEPT, RESULTS_VERSION, Run, RunInfo, damage, experiment_in, raw_files, read_info
from swapbench.store.tables import FIGURES, HEADLINE, medians

BASELINES: Final = "baselines"

_NO_SWAP: Final = "no swap that counts: failed, invalid, a warm-up, or of an A/B comparison"

Fingerprint = tuple[tuple[str, str], ...]


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
    """The median of a run's counted swaps in one scenario under one strategy, in seconds.

    `fingerprint` is what points of one series share, aspect by aspect, sorted.
    """

    run: PastRun
    scenario: str
    strategy: str
    page_cache: str
    fingerprint: Fingerprint
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
    left_out: dict[Path, str] = {}
    reader = _Reader(figure)
    for folder in found:
        try:
            points += reader.points(folder)
        except ResultsError as error:
            left_out[folder] = str(error)
    return History(
        experiment=experiment,
        runs=len(found),
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
        self._fingerprints: dict[tuple[object, ...], Fingerprint] = {}

    def points(self, folder: Path) -> Iterator[Point]:
        """A run's points.

        Raises:
            ResultsError: it is in no history; the message says why.
        """
        info = _info(folder)
        raw = to_json(info.experiment)
        if raw not in self._experiments:
            self._experiments[raw] = experiment_in(info, folder)
        experiment = self._experiments[raw]
        self._refuse(folder, info)
        run = _past(folder, info, experiment)
        found = medians(folder, self._figure)
        if not found:
            but = "" if self._figure == HEADLINE else f"; or not each has its {self._figure}"
            raise ResultsError(f"{_NO_SWAP}{but}")
        for row in found:
            key = (id(experiment), row.scenario, row.strategy)
            if key not in self._cells:
                cell = of_cell(experiment, row.scenario, row.strategy)
                self._cells[key] = cell, settings(cell)
            cell, said = self._cells[key]
            there = circumstances(info, cell.model_names())
            known = (id(cell), *there.values())
            if known not in self._fingerprints:
                self._fingerprints[known] = tuple(sorted((there | said).items()))
            yield Point(
                run=run,
                scenario=row.scenario,
                strategy=row.strategy,
                page_cache=said["page cache"].partition(" (")[0] or str(experiment.page_cache),
                fingerprint=self._fingerprints[known],
                figure=row.figure,
                seconds=row.seconds,
                swaps=row.swaps,
            )

    def _refuse(self, folder: Path, info: RunInfo) -> None:
        key = (info.run_id, info.started_at, info.machine)
        if changed := damage(folder, info):
            raise ResultsError(changed)
        if info.transcribed_from:
            raise ResultsError("transcribed, not measured")
        if info.part_of:
            raise ResultsError(f"part of a {info.part_of}")
        if key in self._seen:
            raise ResultsError("a copy of a run that is there already")
        self._seen.add(key)


def _info(folder: Path) -> RunInfo:
    """As `read_info`, in a third of the time where there is nothing to complain of."""
    try:
        info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
    except (OSError, ValidationError):
        return read_info(folder)
    return info if info.schema_version <= RESULTS_VERSION else read_info(folder)


def _past(folder: Path, info: RunInfo, experiment: Experiment) -> PastRun:
    begun = info.started_at
    device = f", MLX on {info.worker.device}" if info.worker and info.worker.device else ""
    return PastRun(
        run_id=info.run_id,
        folder=folder,
        started_at=begun if begun.tzinfo else begun.replace(tzinfo=UTC),
        machine=identity(info.machine) + device,
        source="scripted" if experiment.target == "scripted" else ", ".join(info.sources()),
        versions=versions_of(info),
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
        _refuse_to_keep(run)
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


def _refuse_to_keep(run: Run) -> None:
    info = run.info
    if info.part_of:
        raise UsageError(f"{run.folder}: is part of a {info.part_of}; a baseline keeps whole runs")
    if info.arms:
        raise UsageError(f"{run.folder}: has two arms; a baseline keeps runs of one thing")
    if info.status != "complete" or info.transcribed_from:
        state = "transcribed" if info.transcribed_from else info.status
        raise UsageError(f"{run.folder}: is {state}; a baseline keeps complete runs that were measured")

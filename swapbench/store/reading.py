"""Runs found by name, and read back from their folders."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swapbench.base.errors import IncomparableError, ResultsError, nearest
from swapbench.spec.experiment import Experiment
from swapbench.store.document import RunInfo, experiment_in, read_info
from swapbench.store.tables import Row, damage, read_table
from swapbench.wire.swap import MEMORY, PHASES, REQUESTS, SWAPS

# Runs that are kept to compare with stand beside the experiments' folders, under these names.
KEPT: Final = ("reference", "baselines")


def find_runs(root: Path) -> list[Path]:
    """The folders below `root` that hold a run, readable or not, without those kept to compare with."""
    folders = (path.parent for path in root.glob("*/*/run.json"))
    return sorted(folder for folder in folders if folder.parent.name not in KEPT)


def list_runs(root: Path) -> list[tuple[Path, RunInfo]]:
    """Every readable run below `root`, oldest first; transcribed references are not among them."""
    found = []
    for folder in find_runs(root):
        try:
            info = read_info(folder)
        except ResultsError:
            continue
        if not info.transcribed_from:
            found.append((folder, info))
    return sorted(found, key=lambda entry: (entry[1].started_at.timestamp(), entry[0].name))


def resolve(root: Path, name: str | None) -> Path:
    """The folder of a run given by path, by `experiment/run`, by run id, or as None for the latest.

    Raises:
        ResultsError: there is no such run, or it can't be read.
    """
    if name:
        for folder in (Path(name), root / name, *(root / kept / name for kept in KEPT)):
            if _holds_run(folder):
                return folder
    runs = list_runs(root)
    latest = [(folder, info) for folder, info in runs if not info.part_of]
    if name is None and latest:
        return latest[-1][0]
    found = [folder for folder, info in latest if info.experiment_name == name]
    found += [folder for folder, info in runs if info.run_id == name]
    if found:
        return found[-1]
    for folder in find_runs(root):
        if name in (None, folder.name, folder.parent.name):
            read_info(folder)  # what can't be read says why
    if name is None:
        raise ResultsError(f"no run under {root}; `swapbench run quick` makes one")
    known = [name for _, info in runs for name in (info.experiment_name, info.run_id)]
    near = nearest(name, known)
    hint = f'did you mean "{near}"?' if near else "`swapbench runs` lists them"
    raise ResultsError(f'no run "{name}" under {root}; {hint}')


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


@dataclass(frozen=True)
class Run:
    """A run read back: run.json and its tables, row by row.

    `damage` is what has become of the tables since it ended.
    """

    folder: Path
    info: RunInfo
    phases: tuple[Row, ...]
    swaps: tuple[Row, ...]
    memory: tuple[Row, ...]
    requests: tuple[Row, ...]
    damage: str = ""


def read(folder: Path) -> Run:
    """Read a run back; a line torn by a crash is left out.

    Raises:
        ResultsError: the folder holds no run, or one this swapbench can't read.
    """
    outline = read_outline(folder)
    may_lack = _may_lack_tables(outline.info)
    return replace(
        outline,
        phases=read_table(folder, PHASES, may_lack),
        memory=read_table(folder, MEMORY, may_lack),
        requests=read_table(folder, REQUESTS, may_lack=True),
    )


def read_whole(folder: Path) -> Run:
    """As `read`, to compare with others.

    Raises:
        IncomparableError: its tables are not those that it ended with.
    """
    run = read(folder)
    if run.damage:
        raise IncomparableError(f"{folder}: {run.damage}")
    return run


def read_outline(folder: Path) -> Run:
    """A run with its swaps only, its other tables left empty: what a list of runs needs.

    Raises:
        ResultsError: as `read`.
    """
    info = read_info(folder)
    changed = damage(folder, info)
    if changed:
        failure = "; ".join(filter(None, (changed, info.failure)))
        info = info.model_copy(update={"status": "incomplete", "failure": failure})
    swaps = read_table(folder, SWAPS, _may_lack_tables(info))
    return Run(folder, info, (), swaps, (), (), changed)


def _may_lack_tables(info: RunInfo) -> bool:
    """A run that was killed right at its start may not have got as far as its tables."""
    return info.status != "complete"


def raw_files(folder: Path) -> dict[str, bytes]:
    """run.json and the tables that a run has, by name, as they are on disk.

    Raises:
        ResultsError: one of them can't be read.
    """
    names = ("run.json", *(columns.file for columns in (SWAPS, PHASES, MEMORY, REQUESTS)))
    try:
        return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    except OSError as error:
        raise ResultsError(f"{folder}: can't be read: {error.strerror}") from None


def experiment_of(run: Run) -> Experiment:
    """The experiment that a run carried out, overrides included.

    Raises:
        ResultsError: run.json holds none that this swapbench understands.
    """
    return experiment_in(run.info, run.folder)

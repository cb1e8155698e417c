"""A run read back from its folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from swapbench.base.errors import IncomparableError, ResultsError
from swapbench.spec.experiment import Experiment
from swapbench.store.document import RunInfo, experiment_in, read_info
from swapbench.store.tables import Row, damage, read_table
from swapbench.wire.columns import MEMORY, PHASES, REQUESTS, SWAPS


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

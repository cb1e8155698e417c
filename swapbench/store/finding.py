"""Runs under results/, by name."""

from pathlib import Path
from typing import Final

from swapbench.base.errors import ResultsError, nearest
from swapbench.store.document import RunInfo, read_info

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
    hint = f'did you mean "{near}"?' if near else "`swapbench runs` shows the runs there are"
    raise ResultsError(f'no run "{name}" under {root}; {hint}')


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False

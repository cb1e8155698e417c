"""Paths that begin at a home folder: services, containers and CI jobs run as users who have none."""

from pathlib import Path

from swapbench.base.errors import UsageError


def expanded(path: str | Path) -> Path:
    """A path with its ~ replaced.

    Raises:
        UsageError: nobody knows where that home folder is.
    """
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        found = Path(path)
    if str(found).startswith("~"):
        raise UsageError(f"{path}: nobody knows that home folder; set HOME, or say the path from / on")
    return found

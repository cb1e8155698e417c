"""Every command that can be tried at no cost, and a folder to try it in."""

import os
from pathlib import Path
from typing import Final

from tests.forking import run_forked
from tests.scripted import toml

COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("--help",),
    ("--version",),
    ("run", "scripted.toml"),
    ("report",),
    ("report", "--html", "page.html"),
    ("report", "--format", "json"),
    ("runs",),
    ("compare", "scripted", "scripted"),
    ("history", "scripted"),
    ("baseline", "list"),
    ("list",),
    ("show", "quick"),
    ("schema",),
    ("targets",),
    ("models", "list"),
    ("init", "experiment", "mine", "--force"),
)


def prepared(folder: Path) -> Path:
    """A folder with a scripted experiment, and two runs of it."""
    (folder / "scripted.toml").write_text(toml())
    for _ in range(2):
        run_forked(["run", "scripted.toml", "--quiet"], folder, os.environ).check_returncode()
    return folder

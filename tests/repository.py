"""Git repositories made for a test, and environments in them that need no network."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Nobody's name, nobody's settings: an empty home and a machine of one's own give the same repository.
_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=os.environ | _ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """An empty one, on branch main, that ignores environments and results."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".gitignore").write_text(".venv/\n__pycache__/\nresults/\n")
    return folder


def commit(folder: Path, name: str, text: str) -> str:
    """Write a file and commit everything; returns the commit."""
    (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", name)
    return git(folder, "rev-parse", "HEAD")


def with_swapbench(folder: Path) -> Path:
    """A repository that has swapbench's own package in it."""
    repository(folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "swapbench", folder / "swapbench", ignore=ignored)
    return folder


# Makes .venv in the folder it is run in: an interpreter that finds that folder's packages, then what we have
# installed, then our swapbench.
BUILD = (
    f"{sys.executable} -m venv --without-pip .venv && "
    f"printf '%s\\n' \"$PWD\" {' '.join(site.getsitepackages())} {ROOT} > "
    "$(echo .venv/lib/python*/site-packages)/own.pth"
)


def environment(folder: Path) -> Path:
    """The interpreter of a .venv, made there."""
    subprocess.run(["bash", "-euc", BUILD], cwd=folder, check=True)
    return folder / ".venv" / "bin" / "python"

"""The merge base of a git repository, checked out beside the working tree, in an environment of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from swapbench import __version__
from swapbench.base.errors import IncomparableError, UsageError
from swapbench.base.process import OWN_CODE, said_by

_PYTHON: Final = Path(".venv") / "bin" / "python"
_VERIFY: Final = ("rev-parse", "--verify", "--quiet")
_OF_A_HOOK: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")

# Prints, as JSON, what is installed: names, versions, and from where where that is a folder.
_INSTALLED: Final = """
import importlib.metadata, json
found = {}
for package in importlib.metadata.distributions():
    if not package.metadata["Name"]:
        continue
    source = json.loads(package.read_text("direct_url.json") or "{}")
    editable = source.get("dir_info", {}).get("editable", False)
    found[package.metadata["Name"]] = [package.version, source.get("url", ""), editable]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Base:
    """The merge base, ready to be measured. `notes` say where its environment differs from the other's."""

    commit: str
    python: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkingTree:
    """A git repository as it lies there; `changed` where there are changes that no commit has."""

    root: Path
    commit: str
    changed: bool

    def describe(self) -> str:
        """`working tree at 1a2b3c4d, with uncommitted changes`."""
        return f"working tree at {self.commit[:8]}" + (", with uncommitted changes" if self.changed else "")


def working_tree(folder: Path) -> WorkingTree:
    """The repository that a folder lies in.

    Raises:
        UsageError: there is none, or git is not installed.
    """
    if shutil.which("git") is None:
        raise UsageError("git is not installed, and --base needs it")
    root = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, *_VERIFY, "HEAD^{commit}")
    if not root or not commit:
        raise UsageError(f"{folder.absolute()}: not in a git repository with a commit; --base needs one")
    return WorkingTree(Path(root), commit, bool(_git(Path(root), "status", "--porcelain", "-uno")))


def merge_base(tree: WorkingTree, ref: str) -> str:
    """The commit at which the working tree's history left that of `ref`.

    Raises:
        UsageError: there is no such commit, or no common history here.
    """
    commit = "" if ref.startswith("-") else _git(tree.root, *_VERIFY, f"{ref}^{{commit}}")
    if not commit:
        raise UsageError(
            f"--base {ref}: no such commit; `git branch --all` shows branches, `git fetch` gets them"
        )
    base = _git(tree.root, "merge-base", commit, tree.commit)
    if not base:
        raise UsageError(
            f"--base {ref}: no commit in common with it; where the clone is shallow, fetch the rest of its "
            "history (git fetch --unshallow)"
        )
    return base


def refuse_other_code(python: str, tree: WorkingTree) -> None:
    """An interpreter that has not installed the working tree would be measured against itself.

    Raises:
        UsageError: it has not.
    """
    installed = _installed(python).values()
    if not any(editable and _folder(url) == tree.root.resolve() for _, url, editable in installed):
        raise UsageError(
            f"{python}: does not run the code of {tree.root}: install that (pip install -e .), or name an "
            "interpreter that does with --python"
        )


def refuse_shared_code(tree: WorkingTree, search_path: str) -> None:
    """A PYTHONPATH that leads into the working tree would have both sides run its code.

    Raises:
        UsageError: it does.
    """
    for entry in filter(None, search_path.split(os.pathsep)):
        if Path(entry).resolve().is_relative_to(tree.root.resolve()):
            raise UsageError(
                f"PYTHONPATH has {entry}: the base would run the working tree's code from there; unset it, "
                "and install the working tree (pip install -e .)"
            )


@contextmanager
def base_checkout(
    tree: WorkingTree, commit: str, python: str, build: str | None, say: Callable[[str], None]
) -> Iterator[Base]:
    """`commit` in a git worktree outside the repository, with an environment; both are gone afterwards.

    Args:
        python: the working tree's interpreter; the base's gets the same versions of everything, as far as
            what the base asks for allows that.
        build: a shell command that makes .venv/bin/python there; uv or pip as for any project when None.
        say: is told what takes long.

    Raises:
        IncomparableError: the base can't be built.
    """
    folder = Path(tempfile.mkdtemp(prefix="swapbench-base-"))
    checkout = folder / "checkout"
    try:
        say(f"checking out the merge base {commit[:8]}")
        _run(["git", "worktree", "add", "--quiet", "--detach", str(checkout), commit], tree.root)
        say("building its environment")
        if build is None:
            notes = _build(checkout, python)
        else:
            notes = ()
            _run(["bash", "-euo", "pipefail", "-c", build], checkout)
        own = checkout / _PYTHON
        if not own.is_file():
            raise IncomparableError(f"the base {commit[:8]} can't be built: there is no {_PYTHON} afterwards")
        yield Base(commit, str(own), notes)
    finally:
        # Whoever is impatient presses Ctrl-C twice: what is being tidied up is tidied up, by children too.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        _git(tree.root, "worktree", "remove", "--force", str(checkout))
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, before)


def _build(checkout: Path, python: str) -> tuple[str, ...]:
    """A virtual environment with the project in it, and swapbench where the project does not bring it."""
    installed = _installed(python)
    pins = checkout.parent / "constraints.txt"
    pins.write_text(
        "".join(f"{name}=={version}\n" for name, (version, url, _) in installed.items() if not url),
        encoding="utf-8",
    )
    install = [*_installer(checkout, python), "--editable", "."]
    pinned = ["--constraint", str(pins)]
    notes: tuple[str, ...] = ()
    try:
        _run([*install, *pinned], checkout, aloud=False)
    except IncomparableError:
        # It may ask for versions that the working tree no longer has: then these are part of the change.
        pinned = []
        _run(install, checkout)
        notes = ("the base does not take the working tree's versions of its dependencies, and has its own",)
    if not _imports_swapbench(checkout / _PYTHON):
        # Together with the project, or what swapbench asks for would replace what the project does.
        root = Path(__file__).parents[2]
        this = str(root) if (root / "pyproject.toml").is_file() else f"swapbench=={__version__}"
        _run([*install, this, *pinned], checkout)
    return notes


def _installer(checkout: Path, python: str) -> list[str]:
    """Make the environment; returns the command that installs into it."""
    own = str(checkout / _PYTHON)
    if shutil.which("uv"):
        _run(["uv", "venv", "--quiet", "--python", python, str(checkout / ".venv")], checkout)
        return ["uv", "pip", "install", "--quiet", "--python", own]
    _run([python, *OWN_CODE, "-m", "venv", str(checkout / ".venv")], checkout)
    return [own, *OWN_CODE, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _imports_swapbench(python: Path) -> bool:
    done = subprocess.run(
        [python, *OWN_CODE, "-c", "import swapbench.worker"], capture_output=True, check=False
    )
    return done.returncode == 0


def _installed(python: str) -> dict[str, tuple[str, str, bool]]:
    said, last = said_by(python, _INSTALLED)
    if not said:
        raise UsageError(f"{python}: can't list what it has installed: {last}")
    found: dict[str, tuple[str, str, bool]] = json.loads(said)
    return found


def _folder(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None


def _run(command: Sequence[str], folder: Path, *, aloud: bool = True) -> None:
    """Run a step of the build; where it fails, all that it said is shown if `aloud`.

    What it has started ends with it where we are interrupted.

    Raises:
        IncomparableError: it failed; the message has the last that it said.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            printed, complained = child.communicate()
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    if child.returncode:
        if aloud:
            print(printed, complained, sep="\n", file=sys.stderr)
        said = (complained.strip() or printed.strip()).splitlines()[-1:]
        last = "".join(said).strip()[:300]
        raise IncomparableError(f"the base can't be built: {' '.join(command[:6])} ...: {last}")


def _environment() -> dict[str, str]:
    """What git tells a hook names its own repository, and would overrule the folder that is meant here."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}


def _git(folder: Path, *arguments: str) -> str:
    """What git says; empty where it fails."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=_environment(),
    )
    return "" if done.returncode else done.stdout.strip()

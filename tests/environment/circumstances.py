"""The real command line where something is not as it usually is."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.forking import run_forked_text

# Nobody has this number: no name, no home folder, no privileges.
STRANGER = 12345

_SITE = """
import os, pathlib
import swapbench.machine.allowance, swapbench.machine.energy
swapbench.machine.allowance.ROOT = swapbench.machine.energy.ROOT = pathlib.Path(os.environ["KERNELS_FILES"])
"""


def run_command(
    words: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    *,
    prefix: Sequence[str] = (),
    forked: bool = False,
) -> subprocess.CompletedProcess[str]:
    """`swapbench`, in exactly that environment, called by `prefix`; it never says a traceback.

    With a prefix it is started for each command, unless one process under it may be `forked` for all.
    """
    if forked or not prefix:
        done = run_forked_text([*map(str, words)], folder, environment, prefix)
    else:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "swapbench", *map(str, words)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def with_models(cache: Path, **more: str) -> dict[str, str]:
    """This environment, with minis that are there already, and nobody's models from the hub."""
    return os.environ | {"SWAPBENCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | more


@cache
def _site() -> "tempfile.TemporaryDirectory[str]":
    site = tempfile.TemporaryDirectory()
    (Path(site.name) / "sitecustomize.py").write_text(_SITE)
    return site


def with_kernels_files(tree: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which processes find the kernel's files at `tree`, until the next call.

    It is the same each time, so that the process that commands are forked from is, too.
    """
    link = Path(_site().name) / "tree"
    link.unlink(missing_ok=True)
    link.symlink_to(tree)
    return {**environment, "PYTHONPATH": _site().name, "KERNELS_FILES": str(link)}


def as_stranger() -> list[str]:
    """A prefix by which a command runs as a user whom nobody knows, and who may do nothing special.

    Skips the test where that can't be.
    """
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare(1) here")
    prefix = ["unshare", "--user", f"--map-user={STRANGER}", f"--map-group={STRANGER}"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no user namespace may be made here: {tried.stderr.strip()}")
    return prefix


def limited(what: str) -> list[str]:
    """A prefix by which a command runs under `ulimit WHAT`."""
    return ["bash", "-c", f'ulimit {what}; exec "$0" "$@"']


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line by which a command explains why it did nothing; it is a matter of usage."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("swapbench: ")
    return line.removeprefix("swapbench: ")

"""The real CLI on real MLX: mini models are made once and shared by all tests of a session."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.forking import run_forked_text

# For what is not about answers: asking for them takes longer than the swaps.
UNPROVEN = ("--set", "verify.tokens=0", "--set", "steady_tokens=0")

Cli = Callable[..., subprocess.CompletedProcess[str]]


def succeeded(found: dict[str, Any]) -> int:
    """Swaps of a report in JSON that succeeded: on a busy machine some are invalid, and not counted."""
    counts: dict[str, int] = found["counts"]
    return counts["counted"] + counts["invalid"]


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A cache folder of mini models, one for all of pytest-xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    cache = (base if worker_id == "master" else base.parent) / "swapbench-cache"
    with FileLock(str(cache) + ".lock"):
        if not cache.exists():
            done = swapbench_of(cache, base)("models", "synth", "exp012", "--mini")
            assert done.returncode == 0, done.stderr
    return cache


def swapbench_of(cache: Path, folder: Path) -> Cli:
    """Runs `swapbench` in that folder, with the models of that cache, and returns what it printed."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_forked_text([*arguments], folder, _environment(cache, folder))

    return run


@pytest.fixture
def cli(model_cache: Path, tmp_path: Path) -> Cli:
    """Runs `swapbench` in an empty folder and returns what it printed."""
    return swapbench_of(model_cache, tmp_path)


@pytest.fixture
def undisturbed_cli(model_cache: Path, tmp_path: Path) -> Cli:
    """As `cli`, with models of its own, for cold swaps: pages that others map can't be evicted, and others'
    warm swaps would find theirs gone."""
    own = tmp_path / "own-cache"
    shutil.copytree(model_cache, own)
    return swapbench_of(own, tmp_path)


@pytest.fixture
def environment(model_cache: Path, tmp_path: Path) -> dict[str, str]:
    """The environment that `cli` runs in, for tests that handle processes themselves."""
    return _environment(model_cache, tmp_path)


def _environment(cache: Path, folder: Path) -> dict[str, str]:
    own = {"SWAPBENCH_CACHE": str(cache), "COLUMNS": "120", "HF_HUB_OFFLINE": "1"}
    # Tests run side by side, and are not to be warned of each other.
    return os.environ | own | {"SWAPBENCH_RUNS": str(folder / "runs")}

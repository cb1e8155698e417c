"""Making real models, as far as it goes without a network."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.real_models import checkpoints
from tests.repository import ROOT

# Neither pip nor uv finds anything.
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}


def _make(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.real_models"],
        cwd=ROOT,
        env=os.environ | NO_INDEX | {"SWAPBENCH_REAL_MODELS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_make_without_network_leaves_nothing_and_says_so_in_one_line(tmp_path: Path) -> None:
    done = _make(tmp_path / "real")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("real models: not made: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "real").exists()


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    for path in checkpoints().values():
        (tmp_path / path.name).mkdir()
    done = _make(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"real models: in {tmp_path} already\n")

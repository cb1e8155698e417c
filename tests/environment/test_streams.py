"""Pipes whose reader has gone, and streams that were never open: what they end, and what they don't."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.cli.invoking import swapbench
from tests.environment.measured import LINES, said


@pytest.fixture
def nobody() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_goes_on_when_nobody_reads_how_far_it_is(folder: Path, nobody: int, *, resumed: bool) -> None:
    words = ["run", "scripted.toml"]
    if resumed:
        swapbench(folder, *words, "--rounds", "2")
        _, info = list_runs(folder / "results")[-1]
        run_json = folder / "results" / "scripted" / info.run_id / "run.json"
        # As one leaves it that was killed before its first swap had ended.
        told = json.loads(run_json.read_text()) | {"status": "interrupted", "rows": None, "sizes": None}
        run_json.write_text(json.dumps(told))
        os.truncate(run_json.parent / "swaps.csv", 0)
        words = ["run", "--resume", info.run_id]
    assert said(folder, *words, out=nobody, err=nobody) == (0, "")
    run_folder, info = list_runs(folder / "results")[-1]
    assert info.status == "complete"
    assert len(read(run_folder).swaps) == (4 if resumed else 6)


@pytest.mark.parametrize("line", LINES)
def test_who_has_read_enough_hears_no_more_and_nothing_failed(line: str, folder: Path, nobody: int) -> None:
    assert said(folder, *line.split(), out=nobody) == (0, "")


@pytest.mark.parametrize("form", ["rich", "md", "json", "trace"])
def test_a_verdict_does_not_depend_on_who_reads_it(form: str, folder: Path, nobody: int) -> None:
    code, words = said(folder, "report", "slow", "--format", form, out=nobody)
    assert (code, words) == (4, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_were_never_open_are_no_failure(closed: str, folder: Path) -> None:
    line = f"exec {sys.executable} -m swapbench report slow --format trace {closed}"
    assert subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, check=False).returncode == 4


def test_a_run_goes_on_when_its_streams_were_never_open(folder: Path) -> None:
    line = f"exec {sys.executable} -m swapbench run scripted.toml --rounds 1 >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, check=False).returncode == 0
    assert list_runs(folder / "results")[-1][1].status == "complete"

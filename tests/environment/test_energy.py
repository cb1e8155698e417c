"""Runs where the kernel tells of energy, and where it doesn't: its files are laid out for it."""

import html
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.store import Run, list_runs, read
from tests.e2e.conftest import UNPROVEN
from tests.environment.circumstances import run_command, with_kernels_files, with_models
from tests.frames import frame

ROWS = ("machine's energy", "machine's power, idle")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


@pytest.fixture
def inside(tree: Path, model_cache: Path) -> dict[str, str]:
    """The environment of a process that finds the kernel's files there."""
    return with_kernels_files(tree, with_models(model_cache))


@pytest.fixture
def counting(tree: Path) -> Iterator[None]:
    """A processor package that uses 20 W."""
    zone = tree / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text(f"{0:020}\n")
    file = os.open(zone / "energy_uj", os.O_WRONLY)
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.001):
            os.pwrite(file, f"{round(time.monotonic() * 20e6):020}\n".encode(), 0)

    thread = threading.Thread(target=count)
    thread.start()
    yield
    ended.set()
    thread.join()
    os.close(file)


def _run(folder: Path, environment: dict[str, str]) -> tuple[str, Run]:
    words = ["run", "quick", "--rounds", "1", "--warmup", "0", *UNPROVEN]
    done = run_command(words, folder, environment)
    assert done.returncode == 0, done.stderr
    ((path, _),) = list_runs(folder / "results")
    return done.stdout, read(path)


@pytest.mark.usefixtures("counting")
@pytest.mark.slow
def test_energy_that_the_machine_tells_is_in_tables_and_reports(
    inside: dict[str, str], tmp_path: Path
) -> None:
    printed, run = _run(tmp_path, inside)
    assert (frame(run.swaps).energy_j > 0).all()
    # That a window of 40 ms holds a count of a thread's isn't certain.
    assert (frame(run.swaps).idle_w.dropna() > 0).any()
    assert next(check.finding for check in run.info.checks if check.name == "energy") == "package-0 by RAPL"
    markdown, document = (
        run_command(["report", "--format", form], tmp_path, inside).stdout for form in ("md", "json")
    )
    run_command(["report", "--html", "page.html"], tmp_path, inside)
    for text in (printed, markdown, html.unescape((tmp_path / "page.html").read_text())):
        assert all(row in text for row in ROWS)
    assert all(scenario["energy_j"]["point"] > 0 for scenario in json.loads(document)["scenarios"])


def test_energy_that_nobody_tells_is_empty_and_in_no_report(inside: dict[str, str], tmp_path: Path) -> None:
    printed, run = _run(tmp_path, inside)
    assert frame(run.swaps)[["energy_j", "idle_w"]].isna().all(axis=None)
    assert not any(row in printed for row in ROWS)
    assert next(check.status for check in run.info.checks if check.name == "energy") == "unknown"

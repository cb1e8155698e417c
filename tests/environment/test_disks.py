"""Disks that are full, or may only be read: one line, and nothing is lost that was there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swapbench.store import list_runs
from tests.cli.invoking import error_of, swapbench
from tests.environment.measured import LINES, said

FULL = Path("/dev/full")
on_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@on_a_full_disk
@pytest.mark.parametrize("line", [*LINES, "report slow", "report slow --format trace"])
def test_a_full_disk_is_one_line(line: str, folder: Path) -> None:
    with FULL.open("w") as full:
        code, words = said(folder, *line.split(), out=full.fileno())
    assert code == 2
    assert words == "swapbench: standard output can't be written: No space left on device\n"


@on_a_full_disk
def test_a_run_goes_on_though_the_log_of_its_progress_has_no_room(folder: Path) -> None:
    with FULL.open("w") as full:
        assert said(folder, "run", "scripted.toml", out=subprocess.DEVNULL, err=full.fileno())[0] == 0
    assert list_runs(folder / "results")[-1][1].status == "complete"


@on_a_full_disk
def test_a_disk_that_is_full_when_a_run_is_to_be_written_is_one_line(folder: Path) -> None:
    code = (
        "import sys\n"
        "from swapbench import cli\n"
        "from swapbench.store import writing\n"
        "writing._Table.sync = lambda self: open('/dev/full', 'w').write('x' * 100_000)\n"
        "sys.argv = ['swapbench', 'run', 'scripted.toml', '--quiet']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "swapbench: No space left on device; make room, or choose another place\n"


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own, which only root can have."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few kilobytes."""
    with mounted(tmp_path / "tiny", "24k") as place:
        yield place


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A disk that may only be read."""
    with mounted(tmp_path / "read-only", "1m") as place:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place


def test_a_run_on_a_disk_that_becomes_full_is_one_line_and_what_was_measured_is_kept(
    folder: Path, tiny: Path
) -> None:
    done = swapbench(folder, "run", "scripted.toml", "--rounds", "200", "--quiet", "--out", tiny)
    assert done.returncode == 2
    assert error_of(done).endswith("No space left on device; make room, or choose another place")
    ((run_folder, _),) = list_runs(tiny)
    assert (run_folder / "swaps.csv").read_text().startswith("run_id,")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run scripted.toml --out {}/results", "no run can be kept there: {} may not be written; choose"),
        ("ab scripted.toml --aa --out {}", "no run can be kept there: {} may not be written; choose"),
        ("gate quick --base HEAD --reports {}", "--reports {}: can't be written: {} may not be written; "),
        ("report slow --html {}/page.html", "--html {}/page.html: can't be written: {} may not be written"),
        ("init experiment mine --folder {}", "--folder {}: can't be written: Read-only file system"),
        ("init target mine --folder {}", "--folder {}: can't be written: Read-only file system"),
    ],
)
def test_a_disk_that_may_only_be_read_is_told_before_anything_is_done(
    line: str, said: str, folder: Path, read_only: Path
) -> None:
    before = list_runs(folder / "results")
    done = swapbench(folder, *line.format(read_only).split())
    assert done.returncode == 2
    assert said.replace("{}", str(read_only)) in error_of(done)
    assert list_runs(folder / "results") == before


@pytest.mark.parametrize("line", ["models synth smollm2-135m --mini", "probe"])
def test_a_cache_that_may_only_be_read_is_told_in_one_line(line: str, folder: Path, read_only: Path) -> None:
    done = swapbench(folder, *line.split(), SWAPBENCH_CACHE=str(read_only / "cache"))
    assert done.returncode == 2
    assert str(read_only) in error_of(done)

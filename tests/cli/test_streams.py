"""Pipes whose reader has gone, and disks that are full: what they end, and what they don't."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.results import list_runs, read
from tests.cli.invoking import swapbench
from tests.scripted import raw_experiment, toml

FULL = Path("/dev/full")
on_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an experiment of three rounds, and a run of another that missed its target."""
    folder = tmp_path_factory.mktemp("streams")
    slow = raw_experiment()["script"] | {"seconds": {"load": 100.0}}
    (folder / "slow.toml").write_text(toml(raw_experiment(script=slow)))
    (folder / "scripted.toml").write_text(toml())
    assert swapbench(folder, "run", "slow.toml", "--rounds", "1").returncode == 4
    return folder


@pytest.fixture
def nobody() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def _said(folder: Path, *words: str, out: int, err: int = subprocess.PIPE) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "swapbench", *words],
        cwd=folder,
        stdout=out,
        stderr=err,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_goes_on_when_nobody_reads_how_far_it_is(folder: Path, nobody: int, *, resumed: bool) -> None:
    words = ["run", "scripted.toml"]
    if resumed:
        swapbench(folder, *words, "--rounds", "2")
        _, info = list_runs(folder / "results")[-1]
        run_json = folder / "results" / "scripted" / info.run_id / "run.json"
        run_json.write_text(run_json.read_text().replace('"complete"', '"interrupted"'))
        os.truncate(run_json.parent / "swaps.csv", 0)
        words = ["run", "--resume", info.run_id]
    assert _said(folder, *words, out=nobody, err=nobody) == (0, "")
    run_folder, info = list_runs(folder / "results")[-1]
    assert info.status == "complete"
    assert len(read(run_folder).swaps) == (4 if resumed else 6)


LINES = ["history slow", "show scripted.toml", "runs", "list", "schema", "--help", "models list", "targets"]


@pytest.mark.parametrize("line", LINES)
def test_who_has_read_enough_hears_no_more_and_nothing_failed(line: str, folder: Path, nobody: int) -> None:
    assert _said(folder, *line.split(), out=nobody) == (0, "")


@pytest.mark.parametrize("form", ["rich", "md", "json", "csv", "trace"])
def test_a_verdict_does_not_depend_on_who_reads_it(form: str, folder: Path, nobody: int) -> None:
    code, said = _said(folder, "report", "slow", "--format", form, out=nobody)
    assert (code, said) == (4, "")


@on_a_full_disk
@pytest.mark.parametrize(
    "line", [*LINES, "report slow", "report slow --format csv", "report slow --format trace"]
)
def test_a_full_disk_is_one_line(line: str, folder: Path) -> None:
    with FULL.open("w") as full:
        code, said = _said(folder, *line.split(), out=full.fileno())
    assert code == 2
    assert said == "swapbench: standard output can't be written: No space left on device\n"


@on_a_full_disk
def test_a_run_goes_on_though_the_log_of_its_progress_has_no_room(folder: Path) -> None:
    with FULL.open("w") as full:
        assert _said(folder, "run", "scripted.toml", out=subprocess.DEVNULL, err=full.fileno())[0] == 0
    assert list_runs(folder / "results")[-1][1].status == "complete"


@on_a_full_disk
def test_a_disk_that_is_full_when_a_run_is_to_be_written_is_one_line(folder: Path) -> None:
    code = (
        "import sys\n"
        "from swapbench import cli, results\n"
        "from swapbench.results import writing\n"
        "writing._Table.sync = lambda self: open('/dev/full', 'w').write('x' * 100_000)\n"
        "sys.argv = ['swapbench', 'run', 'scripted.toml', '--quiet']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "swapbench: No space left on device; make room, or choose another place\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_were_never_open_are_no_failure(closed: str, folder: Path) -> None:
    line = f"exec {sys.executable} -m swapbench report slow --format trace {closed}"
    assert subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, check=False).returncode == 4

"""A run whose process is gone is not called running."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from swapbench.store import Carrier, read, read_info
from tests.cli.invoking import swapbench
from tests.findings.recording import Recording
from tests.scripted import toml


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which is there until it is told to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def carrier_of(process: subprocess.Popen[bytes]) -> Carrier:
    begun = datetime.fromtimestamp(psutil.Process(process.pid).create_time(), UTC)
    return Carrier(pid=process.pid, started_at=begun, host=Carrier.this().host)


def test_a_process_is_gone_when_it_has_ended_though_nobody_has_noted_that_yet(
    other: subprocess.Popen[bytes],
) -> None:
    carrier = carrier_of(other)
    assert not carrier.is_gone()
    other.kill()
    while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert carrier.is_gone()
    other.wait()
    assert carrier.is_gone()


def test_another_process_that_got_its_number_is_not_it(other: subprocess.Popen[bytes]) -> None:
    carrier = carrier_of(other)
    earlier = carrier.started_at - timedelta(hours=1)
    assert carrier.model_copy(update={"started_at": earlier}).is_gone()


def test_of_another_machine_nothing_is_known() -> None:
    assert not Carrier(pid=2**22 - 1, started_at=datetime.now(UTC), host="elsewhere.local").is_gone()


def test_a_run_that_goes_on_is_running(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.run("running")
    recording.writer.update(process=Carrier.this())
    assert read_info(recording.folder).status == "running"


def test_of_a_run_from_before_processes_were_recorded_nothing_is_known(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.run("running")
    path = recording.folder / "run.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "process"}))
    assert read_info(recording.folder).status == "running"


def test_a_run_that_was_killed_is_incomplete_and_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    code = (
        "import os, signal, sys\n"
        "from swapbench import cli\n"
        "from swapbench.store import RunWriter\n"
        "from swapbench.wire.events import SwapFinished\n"
        "add = RunWriter.add\n"
        "def until_the_first(writer, event):\n"
        "    add(writer, event)\n"
        "    if isinstance(event, SwapFinished): os.kill(os.getpid(), signal.SIGKILL)\n"
        "RunWriter.add = until_the_first\n"
        "sys.argv = ['swapbench', 'run', 'scripted.toml']\n"
        "cli.main()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True).returncode == -9
    (listed,) = json.loads(swapbench(tmp_path, "runs", "--json").stdout)
    assert (listed["status"], listed["swaps_ok"]) == ("incomplete", 1)
    report = swapbench(tmp_path, "report")
    assert report.returncode == 7
    told = " ".join(report.stdout.split())
    assert "1 of 6 swaps done; it broke off: the process that carried it out is gone" in told
    assert swapbench(tmp_path, "run", "--resume", listed["run_id"]).returncode == 0
    run = read(tmp_path / listed["folder"])
    assert (run.info.status, len(run.swaps)) == ("complete", 6)

"""What a worker starts goes with it, however it notices that its parent is gone."""

import subprocess
import sys
from pathlib import Path

import psutil

_ORPHAN = """
import os, signal, subprocess, sys
from pathlib import Path
from swapbench.wire.events import Note
from swapbench.worker.__main__ import EventPipe
os.setsid()
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
child.send_signal(signal.SIGSTOP)
print(child.pid, flush=True)
reader, writer = os.pipe()
os.close(reader)
EventPipe(writer, Path(sys.argv[1])).send(Note(text="nobody listens"))
"""


def test_a_worker_whose_events_nobody_reads_takes_what_it_started_with_it(tmp_path: Path) -> None:
    scratch = tmp_path / "caches"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _ORPHAN, str(scratch)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        child = psutil.Process(int(worker.stdout.readline()))
    gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone == [child] or child.status() == psutil.STATUS_ZOMBIE
    assert not scratch.exists()

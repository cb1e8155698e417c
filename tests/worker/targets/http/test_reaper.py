"""Nothing of ours outlives a run, whatever ends it; and nobody else's port is taken."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest

from swapbench.machine import mac
from swapbench.spec.preset import Preset
from swapbench.worker.targets.http import Endpoint, reaper
from swapbench.worker.targets.http.process import StartedServer, free_port, listener
from tests.libproc import Libproc
from tests.worker.targets.http.standing import STAND_IN, play, preset, swaps_of

PATIENCE_S = 60.0

EXPERIMENT = """
target = "{preset}"
source = "mini"
rounds = 3
swap_timeout_s = 600.0
verify.tokens = 0
[models]
ham = "ham"
egg = "egg"
[[scenario]]
name = "there"
from = "ham"
to = "egg"
"""

PRESET = """
title = "a stand-in"
[start]
command = [
  "{{python}}", "-I", "-S", "{stand_in}", "--port", "{{port}}", "--fault", "hangs", "--child", "{child}",
]
[ready]
path = "/health"
[models]
name = "{{name}}"
[ask]
body = {{ model = "{{model}}", prompt = "{{prompt}}", max_tokens = "{{max_tokens}}" }}
"""


def until(what: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < give_up_s, what
        time.sleep(0.02)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Run:
    """`swapbench run`, hanging in the middle of a swap, with a daemon that its server has left."""

    def __init__(self, folder: Path) -> None:
        self._child = child = folder / "daemon.pid"
        server = folder / "server.toml"
        server.write_text(PRESET.format(stand_in=STAND_IN, child=child), encoding="utf-8")
        file = folder / "hanging.toml"
        file.write_text(EXPERIMENT.format(preset=server), encoding="utf-8")
        self.parent = subprocess.Popen(
            [sys.executable, "-m", "swapbench", "run", str(file), "--out", str(folder), "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.folder = folder

    def wait(self) -> "Run":
        """Until it hangs."""
        until(lambda: self._swaps_now(self.folder))
        children = psutil.Process(self.parent.pid).children(recursive=True)
        self.worker = next(p for p in children if "swapbench.worker" in p.cmdline())
        self.server = next(p for p in children if STAND_IN in p.cmdline())
        self.reaper = next(p for p in children if reaper.__file__ in p.cmdline())
        self.daemon = psutil.Process(int(self._child.read_text(encoding="utf-8")))
        return self

    def _swaps_now(self, folder: Path) -> bool:
        rows = [path.read_text(encoding="utf-8") for path in folder.glob("hanging/*/memory.csv")]
        logs = [path.read_text(encoding="utf-8") for path in folder.glob("hanging/*/server.log")]
        assert self.parent.poll() is None, self.parent.communicate()
        return bool(rows and logs) and "POST" in logs[0] and len(rows[0].splitlines()) > 3

    def all_gone(self) -> bool:
        """Whether nothing of it is left."""
        return all(gone(p) for p in (self.worker, self.server, self.reaper, self.daemon))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Run]]:
    """One for each test that ends something of it, started side by side."""
    started = [Run(tmp_path_factory.mktemp("run")) for _ in range(3)]
    yield iter(started)
    for each in started:
        each.parent.kill()
        each.parent.communicate()


@pytest.fixture
def run(runs: Iterator[Run]) -> Run:
    return next(runs).wait()


@pytest.mark.slow
def test_ctrl_c_ends_the_server_and_the_daemon_that_it_left(run: Run) -> None:
    run.parent.send_signal(signal.SIGINT)
    assert run.parent.wait(PATIENCE_S) == 130
    until(run.all_gone)


def test_so_does_killing_the_parent(run: Run) -> None:
    run.parent.kill()
    until(run.all_gone)


def test_killing_the_worker_ends_its_server_and_the_run_goes_on_with_another(run: Run) -> None:
    run.worker.kill()
    until(run.all_gone)
    until(
        lambda: any(
            "killed by SIGKILL" in f.read_text("utf-8") for f in run.folder.glob("hanging/*/run.json")
        )
    )
    assert run.parent.poll() is None


FORKING = """
import subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(child.pid).encode())
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_killing_the_reaper_ends_the_server_and_its_children_and_is_seen(tmp_path: Path) -> None:
    said = {
        "title": "forks",
        "start": {"command": ["{python}", "-I", "-c", FORKING, "{port}"]},
        "ask": {"body": {"prompt": "{prompt}"}},
    }
    models = {"ham": {"python": sys.executable}}
    server = StartedServer(Preset.model_validate(said), tmp_path / "server.log", models, "ham", Endpoint(""))
    server.start()
    process = psutil.Process(server.pid)
    kept, children = process.parent(), process.children()
    assert kept is not None
    assert children
    kept.kill()
    until(lambda: all(gone(each) for each in (process, *children)))
    until(lambda: not server.alive)
    server.stop()


def test_a_run_that_ends_well_leaves_no_daemon_either(tmp_path: Path) -> None:
    file = tmp_path / "daemon.pid"
    swaps = swaps_of(play(tmp_path, preset("mlx_lm", "--child", str(file))))
    assert [swap.status for swap in swaps] == ["ok", "ok"]
    assert not psutil.pid_exists(int(file.read_text(encoding="utf-8")))


def test_tracked_families_are_ended_where_there_is_no_subreaper(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", NAPPING])
    until(lambda: len(psutil.Process(process.pid).children()) == 1)
    (child,) = psutil.Process(process.pid).children()
    family = reaper._Tracked(process.pid, lambda pids: mac.family(pids, Libproc()))
    family.look()
    reaper.end(family, gently=True)
    process.wait(PATIENCE_S)
    assert gone(child)


def test_the_reaper_of_a_mac_finds_its_call_without_swapbench_being_there(tmp_path: Path) -> None:
    ask = (
        "import os, runpy, sys; kept = runpy.run_path(sys.argv[1])['_Tracked'](os.getpid()); "
        "print(kept._family.__name__, 'swapbench' in sys.modules)"
    )
    command = [sys.executable, "-P", "-c", ask, reaper.__file__]
    assert subprocess.check_output(command, cwd=tmp_path, text=True) == "family False\n"


def test_a_process_that_got_the_pid_of_an_ended_one_is_no_child_of_the_server() -> None:
    command = [sys.executable, "-c", "input()"]
    ended, stranger = (subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2))
    below: dict[int, list[int]] = {ended.pid: []}
    family = reaper._Tracked(ended.pid, lambda pids: mac.family(pids, Libproc(lambda p: below.get(p, []))))
    ended.communicate(b"\n")
    below[ended.pid] = [stranger.pid]
    family.look()
    reaper.end(family, gently=True)
    assert stranger.poll() is None
    stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_a_reaper_whose_worker_is_gone_at_once_keeps_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, reaper.__file__], input=b"", timeout=PATIENCE_S, check=False)
    assert done.returncode == 0


def test_a_port_that_somebody_uses_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert listener(port) == os.getpid()
        assert free_port() != port


def test_where_the_system_tells_of_our_own_processes_alone_a_listener_among_them_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise psutil.AccessDenied(1)

    ours, theirs = psutil.Process(), psutil.Process(os.getppid())
    monkeypatch.setattr(psutil, "net_connections", refuse)
    monkeypatch.setattr(theirs, "net_connections", refuse)
    monkeypatch.setattr(psutil, "process_iter", lambda: iter((theirs, ours)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert listener(taken.getsockname()[1]) is None
        taken.listen()
        assert listener(taken.getsockname()[1]) == os.getpid()
        monkeypatch.setattr(psutil, "process_iter", lambda: iter((theirs,)))
        assert listener(taken.getsockname()[1]) is None


def test_a_server_that_finds_its_port_taken_is_started_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = chain([taken.getsockname()[1]], iter(free_port, 0))
        monkeypatch.setattr("swapbench.worker.targets.http.process.free_port", lambda: next(ports))
        swaps = swaps_of(play(tmp_path, preset("mlx_lm")))
    assert [swap.status for swap in swaps] == ["ok", "ok"]


NAPPING = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""

MARKER = "sk-marker-0123456789"


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", MARKER)
    server = preset(
        "mlx_lm", "--tell-key", "--fault", "answers-500", headers={"Authorization": "Bearer {env:A_KEY}"}
    )
    events = play(tmp_path, server)
    log = (tmp_path / "server.log").read_text(encoding="utf-8")
    assert "authorised by Bearer [hidden]" in log
    assert "CUDA is out of sorts Bearer [hidden]" in swaps_of(events)[0].error
    written = [json.dumps([event.model_dump(mode="json") for event in events])]
    written += [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in written if MARKER in text]

"""Whose the memory, the versions and the models are that are told of a server."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from swapbench.spec.preset import ServerProcess
from swapbench.wire.events import Note, WorkerReady
from swapbench.worker.targets.http import ServerError
from swapbench.worker.targets.http.process import free_port, names_of, processes_of, versions_of
from swapbench.worker.targets.http.servers import figure
from tests.worker.targets.http.standing import THERE, play, preset, stand_in, swaps_of

# As docker-proxy and `ssh -L` are: small, and not the server.
FORWARDER = """
import socket, sys, threading
def pump(a, b):
    while data := a.recv(65536): b.sendall(data)
    b.shutdown(socket.SHUT_WR)
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
while True:
    here, _ = door.accept()
    there = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((here, there), (there, here)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    """One of 100 MiB a model, that runs already; its port is its last argument but those of the test."""
    port = str(free_port())
    command = [part.replace("{port}", port) for part in stand_in("--weighs-mib", "100")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def port_of(process: subprocess.Popen[bytes]) -> str:
    arguments = process.args
    assert isinstance(arguments, list)
    return str(arguments[arguments.index("--port") + 1])


def up(process: subprocess.Popen[bytes]) -> str:
    while not any(c.status == "LISTEN" for c in psutil.Process(process.pid).net_connections("tcp")):
        threading.Event().wait(0.01)
    return f"http://127.0.0.1:{port_of(process)}"


def test_the_process_stands_beside_its_memory(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    events = play(tmp_path, preset("openai"), url=up(server), scenario=[THERE])
    (ready,) = (event for event in events if isinstance(event, WorkerReady))
    assert ready.device.endswith(f", process {psutil.Process(server.pid).name()}")
    (swap,) = swaps_of(events)
    assert (swap.settled.footprint_bytes or 0) > 100 << 20


def test_a_forwarders_memory_is_not_the_servers(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    up(server)
    port = str(free_port())
    command = [sys.executable, "-I", "-S", "-c", FORWARDER, port, port_of(server)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as forwarder:
        assert forwarder.stdout is not None
        forwarder.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        events = play(tmp_path, preset("openai"), url=url, scenario=[THERE])
        named = preset("openai", process={"pid": server.pid})
        (known,) = swaps_of(play(tmp_path, named, url=url, scenario=[THERE]))
        forwarder.kill()
    (swap,) = swaps_of(events)
    assert swap.status == "ok"
    assert swap.settled.footprint_bytes is None
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("holds" in note and "it is not the server, whose memory is not told" in note for note in notes)
    assert (known.settled.footprint_bytes or 0) > 100 << 20


def test_processes_are_named_by_a_preset_in_place_of_who_listens() -> None:
    me = psutil.Process(os.getpid())
    assert processes_of(ServerProcess()) == []
    assert processes_of(ServerProcess(pid=me.pid)) == [me.pid]
    found = processes_of(ServerProcess(name=me.name()))
    assert found
    assert names_of(found) == me.name()


@pytest.mark.parametrize("told", [ServerProcess(name="no such program"), ServerProcess(pid=2**22 + 1)])
def test_a_preset_that_names_nobody_is_told_so(told: ServerProcess, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"\[process\] .*runs here"):
        processes_of(told)


def test_versions_are_of_the_environment_that_the_server_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "psutil-1.2.3.dist-info").mkdir()
    (tmp_path / "psutil-1.2.3.dist-info/METADATA").write_text("Name: psutil\nVersion: 1.2.3\n")
    there = {"PYTHONPATH": str(tmp_path)}
    assert versions_of("{python}", ["psutil"], there) == {"psutil": "1.2.3"}


def test_versions_are_those_of_the_interpreter_that_runs_the_program(tmp_path: Path) -> None:
    own = {"psutil": version("psutil")}
    assert versions_of("{python}", ["psutil", "no-such-package"], {}) == own
    assert versions_of(sys.executable, ["psutil", "no-such-package"], {}) == own
    script = tmp_path / "serve"
    for first in (f"#!{sys.executable} -I", f"#!/usr/bin/env {sys.executable}"):
        script.write_text(f"{first}\n")
        script.chmod(0o755)
        assert versions_of(str(script), ["psutil"], {}) == own
    script.write_text("#!/bin/sh\n")
    assert versions_of(str(script), ["psutil"], {}) == {}
    assert versions_of("no-such-program", ["psutil"], {}) == {}


def test_a_second_instance_is_the_right_model_and_the_resident_one_is_named(tmp_path: Path) -> None:
    events = play(tmp_path, preset("lm-studio", "--second"))
    assert [swap.error for swap in swaps_of(events)] == ["", ""]
    notes = {event.text for event in events if isinstance(event, Note)}
    assert "egg was loaded as egg:2: it was resident already" in notes


@pytest.mark.parametrize("told", [math.inf, math.nan, -1, True, "7", None])
def test_what_is_no_figure_is_not_told(told: object) -> None:
    means = {"what": "memory", "from": "call", "where": "size", "unit": "bytes", "means": "m"}
    plan = preset("openai", reported=[means])
    assert figure(plan.reported[0], {"size": told}, "ham") == {}


def test_what_a_server_tells_of_its_caches_is_in_the_row(tmp_path: Path) -> None:
    figures = (
        *(("kv_capacity", "budget", "bytes"), ("evicted_caches", "evicted", "count")),
        *(("restored_caches", "restored", "count"), ("restored_tokens", "tokens", "count")),
    )
    reported = [
        {"what": what, "from": "get", "path": "/memory", "where": where, "unit": unit, "means": "m"}
        for what, where, unit in figures
    ]
    first, second = swaps_of(play(tmp_path, preset("openai", reported=reported)))
    for swap in (first, second):
        assert (swap.outcome.evicted_caches, swap.restored.caches, swap.restored.tokens) == (3, 2, 64)
    assert first.outcome.kv_capacity_bytes is not None
    assert second.outcome.kv_capacity_bytes == first.outcome.kv_capacity_bytes // 2

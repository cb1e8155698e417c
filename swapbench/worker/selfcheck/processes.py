"""Claims about processes, signals and clocks."""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import mlx.core as mx
import psutil

from swapbench.base.process import OWN_CODE
from swapbench.machine import mac
from swapbench.machine.energy import of_this_machine
from swapbench.machine.environment import this_machine
from swapbench.machine.selfcheck import Found
from swapbench.machine.surroundings import look_around
from swapbench.worker.faults import full_disk as no_room
from swapbench.worker.process import Look
from swapbench.worker.selfcheck import judged, not_here
from swapbench.worker.targets.http import reaper
from swapbench.worker.targets.http.process import listener as who_listens

_ENDED_WITHIN_S: Final = 5.0
_TICK_S: Final = 1e-6
_DRIFT: Final = 1e-3
# Between a look's two clocks others may have the processor for a moment: not each time.
_TRIES: Final = 3
_WHILE_S: Final = 0.1

# A server that has started another process, in a session of its own.
_SERVER: Final = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {child.pid}\\n")
os.rename(sys.argv[1], sys.argv[1] + ".there")
signal.pause()
"""
# Somebody who starts a reaper, and is killed.
_STARTER: Final = """
import signal, subprocess, sys
kept = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
kept.stdin.write(sys.argv[1].encode() + b"\\n")
kept.stdin.flush()
signal.pause()
"""


def children(folder: Path) -> Found:
    """A server under a reaper, whose starter is killed."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    pids = folder / "pids"
    order = {
        "command": [sys.executable, *OWN_CODE, "-c", _SERVER, str(pids)],
        "log": str(folder / "server.log"),
        "hide": [],
    }
    kept = [sys.executable, *OWN_CODE, reaper.__file__]
    starter = subprocess.Popen([sys.executable, *OWN_CODE, "-c", _STARTER, json.dumps(order), *kept])
    there = Path(f"{pids}.there")
    _until(there.exists, 20.0)
    if not there.exists():
        starter.kill()
        return judged(holds=False, finding="the server did not start")
    # What the reaper has to have seen before, where orphans can't be found.
    time.sleep(0.5)
    ours = [psutil.Process(int(pid)) for pid in there.read_text(encoding="utf-8").split()]
    starter.kill()
    starter.wait()
    begun_s = time.perf_counter()
    _until(lambda: not any(map(reaper.alive, ours)), _ENDED_WITHIN_S)
    left = [process for process in ours if reaper.alive(process)]
    for process in left:
        process.kill()
    took_s = time.perf_counter() - begun_s
    return judged(not left, f"{len(left)} of {len(ours)} processes left after {took_s:.2f} s")


def _until(there: Callable[[], bool], longest_s: float) -> None:
    ends_s = time.perf_counter() + longest_s
    while not there() and time.perf_counter() < ends_s:
        time.sleep(0.01)


def listener(_folder: Path) -> Found:
    """This process, on a port that the system chooses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = who_listens(server.getsockname()[1])
    return judged(found == os.getpid(), f"{'nobody' if found is None else found}, asked by {os.getpid()}")


def full_disk(folder: Path) -> Found:
    """Write more than the limit allows."""
    try:
        with no_room(), (folder / "full").open("wb", buffering=0) as file:
            written = sum(file.write(bytes(1 << 20)) for _ in range(64))
    except OSError as error:
        return judged(holds=True, finding=f"{error.strerror}")
    return judged(holds=False, finding=f"{written >> 20} MiB were written all the same")


def clocks(_folder: Path) -> Found:
    """A child's clock between two looks at ours; both of ours over a while, the nearest of three times."""
    first = Look.now()
    told = subprocess.run(
        [sys.executable, *OWN_CODE, "-c", "import time; print(time.perf_counter_ns())"],
        capture_output=True,
        check=True,
    )
    last = Look.now()
    theirs_s = int(told.stdout) / 1e9
    tick_s = time.get_clock_info("perf_counter").resolution
    drift = min(_drift() for _ in range(_TRIES))
    shared = first.awake_s <= theirs_s <= last.awake_s
    finding = (
        f"{'one clock' if shared else 'the child has another'}, of {tick_s * 1e9:.0f} ns; "
        f"{drift:.1e} apart from the one that counts sleep"
    )
    return judged(shared and tick_s <= _TICK_S and drift <= _DRIFT, finding)


def _drift() -> float:
    """How far our two clocks go apart in a while, as a share of it."""
    first = Look.now()
    time.sleep(_WHILE_S)
    last = Look.now()
    awake_s, all_s = last.awake_s - first.awake_s, last.with_sleep_s - first.with_sleep_s
    return abs(all_s - awake_s) / awake_s


def awake(_folder: Path) -> Found:
    """What the system says of who keeps it awake."""
    if not mac.HERE:
        return not_here("it is asked of macOS alone")
    with mac.kept_awake():
        ours = {child.pid for child in psutil.Process().children()}
        _until(lambda: _keep_awake(ours), 5.0)
        during = _keep_awake(ours)
    _until(lambda: not _keep_awake(ours), 5.0)
    after = _keep_awake(ours)
    told = {True: "told of", False: "not told of"}
    return judged(during and not after, f"caffeinate is {told[during]} during a run, {told[after]} after it")


def _keep_awake(pids: set[int]) -> bool:
    """Whether a caffeinate among these is told of as one who keeps the machine awake."""
    told = mac.printed_by("/usr/bin/pmset", "-g", "assertions")
    return any(f"pid {pid}(caffeinate)" in told for pid in pids)


_COMPUTING_S: Final = 3.0
_LINUX: Final = "Linux tells nothing of the kind here"


def release(_folder: Path) -> Found:
    """As in About This Mac."""
    machine = this_machine()
    told = bool(machine.processor) and machine.release == (mac.release() if mac.HERE else platform.release())
    return judged(told and bool(machine.release), f"{machine.processor}, {machine.system} {machine.release}")


def power(_folder: Path) -> Found:
    """On battery, or on mains."""
    return _told(look_around(()).on_battery, {True: "not on mains", False: "on mains"})


def low_power(_folder: Path) -> Found:
    """The mode that saves power."""
    return _told(look_around(()).low_power_mode, {True: "on", False: "off"})


def thermal(_folder: Path) -> Found:
    """The pressure, as macOS counts it."""
    return _told(look_around(()).thermal_pressure, {level: f"level {level}" for level in range(5)})


def energy(_folder: Path) -> Found:
    """The counters before and after three seconds of sums of products."""
    reader = of_this_machine()
    before = reader.look()
    if before is None:
        return not_here(reader.source or "nothing tells; on a Mac the extra swapbench[energy] does")
    matrix = mx.random.normal((1024, 1024))
    while time.perf_counter() - before.at_s < _COMPUTING_S:
        mx.eval(matrix @ matrix)
    used = reader.since(before)
    if used is None:
        return judged(holds=False, finding=f"{reader.source}: the counters stood still, or went back")
    return judged(0.1 < used.watts < 1000, f"{used.watts:.1f} W, {reader.source}")


def _told(value: int | None, words: dict[int, str]) -> Found:
    if value is None:
        return judged(holds=False, finding="nothing is told") if mac.HERE else not_here(_LINUX)
    return judged(value in words, words.get(value, f"{value}, which is none of the known ones"))

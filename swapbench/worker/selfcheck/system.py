"""Claims about what the system tells: memory, page cache, processes, clocks, power."""

import json
import mmap
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np
import psutil

import swapbench
from swapbench.base.process import OWN_CODE
from swapbench.instruments import page_cache
from swapbench.instruments.ledgers import process
from swapbench.machine import allowance, mac
from swapbench.machine.energy import of_this_machine
from swapbench.machine.environment import this_machine
from swapbench.machine.selfcheck import Found
from swapbench.machine.surroundings import look_around
from swapbench.spec.experiment import PageCache
from swapbench.worker.faults import full_disk as no_room
from swapbench.worker.meter import MlxMeter
from swapbench.worker.process import Look
from swapbench.worker.selfcheck import judged, large_file, mib, not_here
from swapbench.worker.targets.http import reaper
from swapbench.worker.targets.http.process import listener as who_listens

_MIB: Final = 1 << 20
_HELD_BYTES: Final = 256 * _MIB
_TAKEN_BYTES: Final = 1 << 30
_CHUNK_BYTES: Final = 8 * _MIB
# Python itself, and what others do meanwhile.
_SLACK_BYTES: Final = 16 * _MIB
_SEEN_WITHIN_S: Final = 0.1
_LONGEST_S: Final = 3.0
_SHARE: Final = 0.9
# Other processes take and free memory, too.
_SYSTEM_SHARE: Final = 0.5
_ENDED_WITHIN_S: Final = 5.0
_TICK_S: Final = 1e-6
_DRIFT: Final = 1e-3
# Between a look's two clocks others may have the processor for a moment: not each time.
_TRIES: Final = 3
_WHILE_S: Final = 0.1
_COMPUTING_S: Final = 3.0
_UNITS: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

# Holds memory, says its footprint, and waits.
_HOLDING: Final = """
import os, sys
sys.path.append(sys.argv[2])
from swapbench.instruments.ledgers import process
held = b"\\x01" * int(sys.argv[1])
print(process(os.getpid()).memory().footprint_bytes, flush=True)
sys.stdin.read()
"""
_READ: Final = (
    "import sys; file = open(sys.argv[1], 'rb', 0); [file.read(1 << 20) for _ in range(int(sys.argv[2]))]"
)
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


def footprint(_folder: Path) -> Found:
    """The ledger beside the system's own tool, 256 MiB being held."""
    held = np.ones(_HELD_BYTES, np.uint8)
    ours = process(os.getpid()).memory().footprint_bytes or 0
    theirs, tool = None, "footprint" if mac.HERE else "smaps_rollup"
    if mac.HERE:
        theirs = footprint_told(mac.printed_by("/usr/bin/footprint", "-p", str(os.getpid())))
    else:
        with suppress(OSError):
            text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
            kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
            theirs = (int(kilobytes["Anonymous"]) + int(kilobytes["Swap"])) << 10
    del held
    if theirs is None:
        return not_here(f"{tool} can't be had")
    holds = abs(ours - theirs) <= max(_SLACK_BYTES, theirs // 20) and ours >= _HELD_BYTES
    return judged(holds, f"{ours / _MIB:.1f} MiB, {tool} {theirs / _MIB:.1f} MiB")


def footprint_told(text: str) -> int | None:
    """From `footprint -p PID`: python3.12 [415]: 64-bit    Footprint: 268 MB (16384 bytes per page)."""
    told = re.search(r"Footprint:\s+([\d.]+)\s*([KMG]?B)\b", text)
    return None if told is None else int(float(told[1]) * _UNITS[told[2]])


def ledgers(_folder: Path) -> Found:
    """How old each ledger is when MLX has just taken a GiB."""
    meter = MlxMeter()
    size = min(_TAKEN_BYTES, allowance.memory().available.bytes // 4)
    before = meter.read(exact=True)
    taken = mx.ones((size // 4,), mx.float32)
    mx.eval(taken)
    mx.synchronize()
    begun_s = time.perf_counter()
    exact = meter.read(exact=True)
    exact_s = time.perf_counter() - begun_s
    active = (exact.mlx_active_bytes or 0) - (before.mlx_active_bytes or 0)
    held, available = before.footprint_bytes, before.system_available_bytes
    enough, of_all = size * _SHARE, size * _SYSTEM_SHARE
    footprint_s = _until(lambda: _grown(held, meter.read().footprint_bytes) >= enough, _LONGEST_S)
    system_s = _until(lambda: _grown(meter.read().system_available_bytes, available) >= of_all, _LONGEST_S)
    exactly = _grown(exact.system_available_bytes, available)
    del taken

    def after(age_s: float) -> str:
        return f"{age_s * 1e3:.1f} ms" if age_s < inf else f"not within {_LONGEST_S:g} s"

    finding = (
        f"of {mib(size)}: MLX active {mib(active)}; in footprint after {after(footprint_s)}, in available "
        f"memory after {after(system_s)}; an exact reading took {exact_s * 1e3:.1f} ms, has {mib(exactly)}"
    )
    seen = max(footprint_s, system_s) <= _SEEN_WITHIN_S
    return judged(seen and active >= size and exactly >= of_all, finding)


def _grown(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else after - before


def _until(there: Callable[[], bool], longest_s: float) -> float:
    """Seconds until something is there; infinite where it isn't."""
    begun_s = time.perf_counter()
    while (now_s := time.perf_counter() - begun_s) < longest_s:
        if there():
            return now_s
        time.sleep(0.001)
    return inf


def worker_footprint(_folder: Path) -> Found:
    """A child that holds 256 MiB, read by itself and by its parent."""
    ours = str(Path(swapbench.__file__).parents[1])
    command = [sys.executable, *OWN_CODE, "-c", _HOLDING, str(_HELD_BYTES), ours]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        itself = json.loads(child.stdout.readline())
        outside = process(child.pid).memory().footprint_bytes or 0
        child.kill()
    holds = abs(itself - outside) <= _MIB and outside >= _HELD_BYTES
    return judged(holds, f"{outside / _MIB:.1f} MiB from outside, {itself / _MIB:.1f} MiB by itself")


def eviction(folder: Path) -> Found:
    path = large_file(folder)
    page_cache.arrange([path], PageCache.WARM)
    warm = page_cache.residency([path]).share
    page_cache.arrange([path], PageCache.COLD)
    cold = page_cache.residency([path]).share
    finding = f"{warm:.1%} of {path.stat().st_size >> 20} MiB resident when read, {cold:.1%} when evicted"
    return judged(warm >= page_cache.WARM_SHARE and cold <= page_cache.COLD_SHARE, finding)


def mincore(folder: Path) -> Found:
    """Half of the file, read by somebody else."""
    path = large_file(folder)
    page_cache.arrange([path], PageCache.COLD)
    half = path.stat().st_size >> 21
    subprocess.run([sys.executable, *OWN_CODE, "-c", _READ, str(path), str(half)], check=True)
    share = page_cache.residency([path]).share
    # The kernel reads ahead, by some MiB.
    return judged(0.45 <= share <= 0.75, f"{share:.0%} resident after another process has read half of it")


def uncached(folder: Path) -> Found:
    """The whole file, past the page cache."""
    path = large_file(folder)
    page_cache.arrange([path], PageCache.COLD)
    descriptor = page_cache.open_past(path)
    if descriptor is None:
        return not_here("this volume has no reads past the page cache")
    size = path.stat().st_size
    begun_s = time.perf_counter()
    with mmap.mmap(-1, _CHUNK_BYTES) as buffer:
        for at in range(0, size, _CHUNK_BYTES):
            os.preadv(descriptor, [buffer], at)
    took_s = time.perf_counter() - begun_s
    os.close(descriptor)
    share = page_cache.residency([path]).share
    finding = f"{share:.1%} resident afterwards, {size / took_s / 1e9:.2f} GB/s"
    return judged(share <= page_cache.COLD_SHARE, finding)


def disk_bytes(folder: Path) -> Found:
    """What the disk has delivered to this process, cold and warm."""
    path, ours = large_file(folder), process(os.getpid())
    if ours.disk_read_bytes() is None:
        return not_here("the system withholds them")
    page_cache.arrange([path], PageCache.COLD)
    delivered = [ours.disk_read_bytes() or 0]
    for _ in range(2):
        page_cache.prime([path])
        delivered.append(ours.disk_read_bytes() or 0)
    cold, warm = (np.diff(delivered) / path.stat().st_size).tolist()
    finding = f"{cold:.1%} of the file cold, {warm:.1%} warm"
    return judged(cold >= page_cache.WARM_SHARE and warm <= page_cache.COLD_SHARE, finding)


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
    if _until(there.exists, 20.0) == inf:
        starter.kill()
        return judged(False, "the server did not start")
    # What the reaper has to have seen before, where orphans can't be found.
    time.sleep(0.5)
    ours = [psutil.Process(int(pid)) for pid in there.read_text(encoding="utf-8").split()]
    starter.kill()
    starter.wait()
    begun_s = time.perf_counter()
    _until(lambda: not any(map(reaper.alive, ours)), _ENDED_WITHIN_S)
    left = [one for one in ours if reaper.alive(one)]
    for one in left:
        one.kill()
    took_s = time.perf_counter() - begun_s
    return judged(not left, f"{len(left)} of {len(ours)} processes left after {took_s:.2f} s")


def listener(_folder: Path) -> Found:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = who_listens(server.getsockname()[1])
    return judged(found == os.getpid(), f"{'nobody' if found is None else found}, asked by {os.getpid()}")


def full_disk(folder: Path) -> Found:
    try:
        with no_room(), (folder / "full").open("wb", buffering=0) as file:
            written = sum(file.write(bytes(1 << 20)) for _ in range(64))
    except OSError as error:
        return judged(True, f"{error.strerror}")
    return judged(False, f"{written >> 20} MiB were written all the same")


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
        during = _until(lambda: _keep_awake(ours), 5.0) < inf
    after = _until(lambda: not _keep_awake(ours), 5.0) == inf
    told = {True: "told of", False: "not told of"}
    return judged(during and not after, f"caffeinate is {told[during]} during a run, {told[after]} after it")


def _keep_awake(pids: set[int]) -> bool:
    """Whether a caffeinate among these is told of as one who keeps the machine awake."""
    told = mac.printed_by("/usr/bin/pmset", "-g", "assertions")
    return any(f"pid {pid}(caffeinate)" in told for pid in pids)


def release(_folder: Path) -> Found:
    machine, release = this_machine(), mac.release() if mac.HERE else platform.release()
    holds = bool(machine.processor and release) and machine.release == release
    return judged(holds, f"{machine.processor}, {machine.system} {machine.release}")


def power(_folder: Path) -> Found:
    return _told(look_around(()).on_battery, {True: "not on mains", False: "on mains"})


def low_power(_folder: Path) -> Found:
    return _told(look_around(()).low_power_mode, {True: "on", False: "off"})


def thermal(_folder: Path) -> Found:
    return _told(look_around(()).thermal_pressure, {level: f"level {level}" for level in range(5)})


def _told(value: int | None, words: dict[int, str]) -> Found:
    if value is None:
        untold = "Linux tells nothing of the kind here"
        return judged(False, "nothing is told") if mac.HERE else not_here(untold)
    return judged(value in words, words.get(value, f"{value}, which is none of the known ones"))


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
        return judged(False, f"{reader.source}: the counters stood still, or went back")
    return judged(0.1 < used.watts < 1000, f"{used.watts:.1f} W, {reader.source}")

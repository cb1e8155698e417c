"""Claims about what memory is held, and by whom."""

import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np

from swapbench.base.process import LENT
from swapbench.instruments.ledgers import process
from swapbench.loaders.layout import weight_bytes
from swapbench.machine import allowance, mac
from swapbench.machine.doctor.claims import Found
from swapbench.spec.strategy import LoaderKind
from swapbench.worker.meter import MlxMeter
from swapbench.worker.mlx_here import wire
from swapbench.worker.selfcheck.prepared import MODEL, first_token, judged, loader, not_here

_MIB: Final = 1 << 20
_HELD_BYTES: Final = 256 * _MIB
_TAKEN_BYTES: Final = 1 << 30
# Python itself, and what others do meanwhile.
_SLACK_BYTES: Final = 16 * _MIB
_SEEN_WITHIN_S: Final = 0.1
_LONGEST_S: Final = 3.0
_SHARE: Final = 0.9
# Other processes take and free memory, too.
_SYSTEM_SHARE: Final = 0.5
_NEARLY_NOTHING: Final = 0.05
_UNITS: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def footprint(_folder: Path) -> Found:
    """The ledger beside the system's own tool, 256 MiB being held."""
    held = np.ones(_HELD_BYTES, np.uint8)
    ours = process(os.getpid()).memory().footprint_bytes or 0
    theirs, tool = _by_the_tool()
    del held
    if theirs is None:
        return not_here(f"{tool} can't be had")
    holds = abs(ours - theirs) <= max(_SLACK_BYTES, theirs // 20) and ours >= _HELD_BYTES
    return judged(holds, f"{ours / _MIB:.1f} MiB, {tool} {theirs / _MIB:.1f} MiB")


def _by_the_tool() -> tuple[int | None, str]:
    if mac.HERE:
        return footprint_told(mac.printed_by("/usr/bin/footprint", "-p", str(os.getpid()))), "footprint"
    try:
        text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return None, "smaps_rollup"
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return (int(kilobytes["Anonymous"]) + int(kilobytes["Swap"])) << 10, "smaps_rollup"


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
    footprint_s = _age(lambda: _grown(before.footprint_bytes, meter.read().footprint_bytes), size * _SHARE)
    available = before.system_available_bytes
    system_s = _age(lambda: _grown(meter.read().system_available_bytes, available), size * _SYSTEM_SHARE)
    exactly = _grown(exact.system_available_bytes, available)
    del taken
    finding = (
        f"of {_mib(size)}: MLX active {_mib(active)}; in footprint after {_told(footprint_s)}, in available "
        f"memory after {_told(system_s)}; an exact reading took {exact_s * 1e3:.1f} ms, has {_mib(exactly)}"
    )
    seen = all(age is not None and age <= _SEEN_WITHIN_S for age in (footprint_s, system_s))
    return judged(seen and active >= size and exactly >= size * _SYSTEM_SHARE, finding)


def _grown(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else after - before


def _age(grown: Callable[[], int], enough: float) -> float | None:
    """Seconds until a ledger has grown enough; None where it does not."""
    begun_s = time.perf_counter()
    while (now_s := time.perf_counter() - begun_s) < _LONGEST_S:
        if grown() >= enough:
            return now_s
        time.sleep(0.001)
    return None


def _told(age_s: float | None) -> str:
    return f"not within {_LONGEST_S:g} s" if age_s is None else f"{age_s * 1e3:.1f} ms"


def unload(folder: Path) -> Found:
    """MLX's ledgers with a model, and after it."""
    meter, stock = MlxMeter(), loader(LoaderKind.STOCK)
    size = weight_bytes(folder / MODEL)
    loaded = stock.load(folder / MODEL)
    first_token(loaded.model)
    held = meter.read()
    del loaded
    gc.collect()
    stock.released()
    left = meter.read()
    finding = (
        f"of {_mib(size)}: active {_mib(held.mlx_active_bytes)}, and {_mib(left.mlx_active_bytes)} after; "
        f"cache {_mib(left.mlx_cache_bytes)} after; footprint {_mib(held.footprint_bytes)}, and "
        f"{_mib(left.footprint_bytes)} after"
    )
    most = size * _NEARLY_NOTHING
    gone = (left.mlx_active_bytes or 0) <= most and (left.mlx_cache_bytes or 0) <= most
    return judged(gone and (held.mlx_active_bytes or 0) >= size, finding)


def _mib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / _MIB:.0f} MiB"


def wired(folder: Path) -> Found:
    """Wired memory without a model, with one that computes, and after it, each by an exact reading."""
    meter, stock = MlxMeter(), loader(LoaderKind.STOCK)
    without = meter.read(exact=True).system_wired_bytes
    if without is None:
        return not_here("this system has no wired memory")
    wire("recommended")
    size = weight_bytes(folder / MODEL)
    loaded = stock.load(folder / MODEL)
    first_token(loaded.model)
    held = meter.read(exact=True).system_wired_bytes or 0
    del loaded
    gc.collect()
    stock.released()
    left = meter.read(exact=True).system_wired_bytes or 0
    finding = f"of {_mib(size)}: +{_mib(held - without)} with it, {_mib(left - held)} after its unload"
    return judged(held - without >= size * _SYSTEM_SHARE and held - left >= size * _SYSTEM_SHARE, finding)


def worker_footprint(_folder: Path) -> Found:
    """A child that holds 256 MiB, read by itself and by its parent."""
    command = [sys.executable, *LENT, "swapbench.worker.selfcheck.holding", str(_HELD_BYTES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        itself = json.loads(child.stdout.readline())
        outside = process(child.pid).memory().footprint_bytes or 0
        child.kill()
    holds = abs(itself - outside) <= _MIB and outside >= _HELD_BYTES
    return judged(holds, f"{outside / _MIB:.1f} MiB from outside, {itself / _MIB:.1f} MiB by itself")

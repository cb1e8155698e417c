"""Claims about what memory is held, and by whom."""

import gc
import json
import mmap
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np

import swapbench
from swapbench.base.process import OWN_CODE
from swapbench.instruments import page_cache
from swapbench.instruments.ledgers import process
from swapbench.loaders.arrays import weight_bytes
from swapbench.machine import allowance, mac
from swapbench.machine.environment import Limits
from swapbench.machine.selfcheck import Found
from swapbench.spec.experiment import PageCache
from swapbench.worker.meter import MlxMeter
from swapbench.worker.mlx_here import wire
from swapbench.worker.selfcheck import MODEL, first_token, judged, large_file, loader, not_here

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
# Holds memory, says its footprint, and waits.
_HOLDING: Final = """
import os, sys
sys.path.append(sys.argv[2])
from swapbench.instruments.ledgers import process
held = b"\\x01" * int(sys.argv[1])
print(process(os.getpid()).memory().footprint_bytes, flush=True)
sys.stdin.read()
"""
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
    meter, stock = MlxMeter(), loader("stock")
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
    meter, stock = MlxMeter(), loader("stock")
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
    ours = str(Path(swapbench.__file__).parents[1])
    command = [sys.executable, *OWN_CODE, "-c", _HOLDING, str(_HELD_BYTES), ours]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        itself = json.loads(child.stdout.readline())
        outside = process(child.pid).memory().footprint_bytes or 0
        child.kill()
    holds = abs(itself - outside) <= _MIB and outside >= _HELD_BYTES
    return judged(holds, f"{outside / _MIB:.1f} MiB from outside, {itself / _MIB:.1f} MiB by itself")


_CHUNK_BYTES: Final = 8 << 20
# What a disk delivers varies, and more from one minute to the next on a virtual machine.
_FASTER: Final = 1.25
_READ: Final = (
    "import sys; file = open(sys.argv[1], 'rb', 0); [file.read(1 << 20) for _ in range(int(sys.argv[2]))]"
)


def eviction(folder: Path) -> Found:
    """In, and out."""
    path = large_file(folder)
    shares = []
    for state in (PageCache.WARM, PageCache.COLD):
        page_cache.arrange([path], state)
        shares.append(page_cache.residency([path]).share)
    warm, cold = shares
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
    return judged(
        share <= page_cache.COLD_SHARE, f"{share:.1%} resident afterwards, {size / took_s / 1e9:.2f} GB/s"
    )


def disk_bytes(folder: Path) -> Found:
    """What the disk has delivered to this process, cold and warm."""
    path, ours = large_file(folder), process(os.getpid())
    if ours.disk_read_bytes() is None:
        return not_here("the system withholds them")
    size = path.stat().st_size
    page_cache.arrange([path], PageCache.COLD)
    shares = []
    for _ in range(2):
        before = ours.disk_read_bytes() or 0
        page_cache.prime([path])
        shares.append(((ours.disk_read_bytes() or 0) - before) / size)
    cold, warm = shares
    finding = f"{cold:.1%} of the file cold, {warm:.1%} warm"
    return judged(cold >= page_cache.WARM_SHARE and warm <= page_cache.COLD_SHARE, finding)


def reads(folder: Path) -> Found:
    """Loads of the model, beside what the disk was measured to do."""
    limits = Limits.model_validate_json((folder / "limits.json").read_bytes())
    disk = limits.best("disk", "disk_buffered")
    if disk is None:
        return not_here("this volume has no reads past the page cache, so that the disk is unknown")
    size, rates = weight_bytes(folder / MODEL), {}
    for state in (PageCache.COLD, PageCache.WARM):
        for kind in ("stock", "fill"):
            page_cache.arrange([*(folder / MODEL).glob("*")], state)
            rates[state, kind] = size / _weights_s(folder / MODEL, kind) / 1e9
    told = ", ".join(f"{kind} {state} {rate:.2f}" for (state, kind), rate in rates.items())
    cold = [rate for (state, _), rate in rates.items() if state is PageCache.COLD]
    warm = [rate for (state, _), rate in rates.items() if state is PageCache.WARM]
    finding = f"{told} GB/s; the disk by probe {disk.median:.2f} GB/s"
    return judged(max(cold) <= _FASTER * disk.median and max(warm) > max(cold), finding)


def _weights_s(checkpoint: Path, kind: str) -> float:
    """Seconds of a load's weights, tokenizer left out."""
    spent_s = 0.0

    @contextmanager
    def span(name: str) -> Iterator[None]:
        nonlocal spent_s
        begun_s = time.perf_counter()
        yield
        spent_s += time.perf_counter() - begun_s if name == "weights" else 0.0

    loader(kind).load(checkpoint, span)
    return spent_s

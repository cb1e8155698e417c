"""Claims about files: page cache and disk."""

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from swapbench.base.process import OWN_CODE
from swapbench.instruments import page_cache
from swapbench.instruments.ledgers import process
from swapbench.loaders.layout import weight_bytes
from swapbench.machine.doctor.claims import Found
from swapbench.machine.limits import Limits
from swapbench.spec.experiment import PageCache
from swapbench.spec.strategy import LoaderKind
from swapbench.worker.selfcheck.prepared import MODEL, judged, large_file, loader, not_here

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
        for kind in (LoaderKind.STOCK, LoaderKind.FILL):
            page_cache.arrange([*(folder / MODEL).glob("*")], state)
            rates[state, kind] = size / _weights_s(folder / MODEL, kind) / 1e9
    told = ", ".join(f"{kind} {state} {rate:.2f}" for (state, kind), rate in rates.items())
    cold = [rate for (state, _), rate in rates.items() if state is PageCache.COLD]
    warm = [rate for (state, _), rate in rates.items() if state is PageCache.WARM]
    finding = f"{told} GB/s; the disk by probe {disk.median:.2f} GB/s"
    return judged(max(cold) <= _FASTER * disk.median and max(warm) > max(cold), finding)


def _weights_s(checkpoint: Path, kind: LoaderKind) -> float:
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

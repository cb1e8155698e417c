"""`python -m swapbench.worker.examine FOLDER`: MLX, the instruments' own cost, memory and page cache."""

import argparse
import mmap
import os
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import mlx.core as mx

from swapbench.base.phases import PHASES
from swapbench.compat import device_info
from swapbench.instruments import page_cache
from swapbench.machine.surroundings import Examination
from swapbench.wire.swap import NO_SWAP, MemorySample
from swapbench.worker.meter import MlxMeter
from swapbench.worker.probe import SwapProbe

_SWAPS: Final = 40
_SAMPLE_EVERY_S: Final = 0.05
_SAMPLES: Final = 20
_TOUCHED_BYTES: Final = 256 << 20
_FILE_BYTES: Final = 16 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="swapbench.worker.examine")
    parser.add_argument("folder", type=Path)
    sys.stdout.write(examine(parser.parse_args().folder).model_dump_json() + "\n")


def examine(folder: Path) -> Examination:
    meter = MlxMeter()
    costs = _phase_costs(meter)
    info = device_info()
    # Metal's recommendation: beyond it the GPU's memory is swapped.
    working_set = info.get("max_recommended_working_set_size") if mx.metal.is_available() else None
    return Examination(
        mlx_version=version("mlx"),
        mlx_lm_version=version("mlx-lm"),
        device=mx.default_device().type.name,
        device_name=str(info.get("device_name", "unknown")),
        working_set_bytes=int(working_set) if working_set is not None else None,
        probe_phases=len(costs),
        probe_phase_s=median(costs),
        probe_phase_most_s=max(costs),
        # On a virtual machine free pages may be the host's, who has to find and clear them first;
        # those that were touched a moment ago are still there.
        first_touch_gb_per_s=_touch_gb_per_s(),
        second_touch_gb_per_s=_touch_gb_per_s(),
        sample_every_s=_SAMPLE_EVERY_S,
        sampler_share=_sampler_share(meter),
        resident_after_evict=_resident_after_evict(folder),
        cold_share=page_cache.COLD_SHARE,
        unasked=_unasked(),
    )


def _phase_costs(meter: MlxMeter) -> list[float]:
    """What swaps without any work take, by phase: the observer alone."""
    costs = []
    for _ in range(_SWAPS):
        probe = SwapProbe(meter, lambda _: None, NO_SWAP)
        begun_s = meter.now_s()
        probe.begin()
        for phase in PHASES:
            with probe.phase(phase):
                pass
        costs.append((meter.now_s() - begun_s) / len(PHASES))
    return costs


def _sampler_share(meter: MlxMeter) -> float:
    """CPU time of a sampling thread over the time it ran."""
    spent: list[float] = []
    pause = threading.Event()

    def sample() -> None:
        begun_s = time.thread_time()
        for _ in range(_SAMPLES):
            used = meter.swap().used_bytes
            MemorySample(t_s=meter.now_s(), ledgers=meter.read(), swap_used_bytes=used).model_dump_json()
            pause.wait(_SAMPLE_EVERY_S)
        spent.append(time.thread_time() - begun_s)

    begun_s = time.perf_counter()
    thread = threading.Thread(target=sample)
    thread.start()
    thread.join()
    return spent[0] / (time.perf_counter() - begun_s)


def _touch_gb_per_s() -> float:
    """How fast fresh memory can be written to; it is given back at once."""
    with mmap.mmap(-1, _TOUCHED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        begun_s = time.perf_counter()
        for at in range(0, _TOUCHED_BYTES, mmap.PAGESIZE):
            memory[at] = 1
        return _TOUCHED_BYTES / (time.perf_counter() - begun_s) / 1e9


def _resident_after_evict(folder: Path) -> float | None:
    """Whether this file system's page cache can be emptied; None where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(os.urandom(_FILE_BYTES))
            file.flush()
            path = Path(file.name)
            page_cache.evict([path])
            return page_cache.residency([path]).share
    except OSError:
        return None


def _unasked() -> tuple[str, ...] | None:
    """What this mlx-lm does otherwise than the loaders know; None where it can't be imported."""
    try:
        from swapbench.compat.mlx_lm import PARTS, unasked
    except (ImportError, ValueError):  # mlx-lm raises its limit of open files, which may not be allowed
        return None
    return tuple(why for part in PARTS if (why := unasked(part)))


if __name__ == "__main__":
    main()

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

import mlx.core as mx

from swapbench.base.phases import PHASES
from swapbench.compat import device_info
from swapbench.instruments import page_cache
from swapbench.machine.surroundings import Examination
from swapbench.wire.events import Event
from swapbench.wire.swap import NO_SWAP, MemorySample
from swapbench.worker.meter import MlxMeter
from swapbench.worker.probe import Probe

_SWAPS = 40
_SAMPLE_EVERY_S = 0.05
_SAMPLES = 20
_TOUCHED_BYTES = 256 << 20
_FILE_BYTES = 16 << 20


def main() -> None:
    """Examine, and print one line."""
    parser = argparse.ArgumentParser(prog="swapbench.worker.examine")
    parser.add_argument("folder", type=Path)
    sys.stdout.write(examine(parser.parse_args().folder).model_dump_json() + "\n")


def examine(folder: Path) -> Examination:
    """Look at everything, one after another."""
    costs = _phase_costs()
    first, second = _touches()
    return Examination(
        mlx_version=version("mlx"),
        mlx_lm_version=version("mlx-lm"),
        device=mx.default_device().type.name,
        device_name=str(device_info().get("device_name", "unknown")),
        working_set_bytes=_working_set(),
        probe_phases=len(costs),
        probe_phase_s=median(costs),
        probe_phase_most_s=max(costs),
        sample_every_s=_SAMPLE_EVERY_S,
        sampler_share=_sampler_share(),
        first_touch_gb_per_s=first,
        second_touch_gb_per_s=second,
        resident_after_evict=_resident_after_evict(folder),
        cold_share=page_cache.COLD_SHARE,
        unasked=_unasked(),
    )


def _working_set() -> int | None:
    """Metal's recommendation: beyond it the GPU's memory is swapped."""
    if not mx.metal.is_available():
        return None
    size = device_info().get("max_recommended_working_set_size")
    return int(size) if size is not None else None


def _phase_costs() -> list[float]:
    """What swaps without any work take, by phase: the observer alone."""
    meter = MlxMeter()
    costs = []
    for _ in range(_SWAPS):
        probe = Probe(meter, _nowhere, NO_SWAP)
        begun_s = meter.now_s()
        probe.begin()
        for phase in PHASES:
            with probe.phase(phase):
                pass
        costs.append((meter.now_s() - begun_s) / len(PHASES))
    return costs


def _nowhere(_event: Event) -> None:
    pass


def _sampler_share() -> float:
    """CPU time of a sampling thread over the time it ran."""
    meter = MlxMeter()
    spent: list[float] = []

    def sample() -> None:
        begun_s = time.thread_time()
        for _ in range(_SAMPLES):
            swap = meter.swap()
            MemorySample(
                t_s=meter.now_s(),
                ledgers=meter.read(),
                swap_used_bytes=swap.used_bytes,
            ).model_dump_json()
            pause.wait(_SAMPLE_EVERY_S)
        spent.append(time.thread_time() - begun_s)

    pause = threading.Event()
    begun_s = time.perf_counter()
    thread = threading.Thread(target=sample)
    thread.start()
    thread.join()
    return spent[0] / (time.perf_counter() - begun_s)


def _touches() -> tuple[float, float]:
    """GB/s of writing to fresh memory, twice: the second time its pages have just been given back.

    On a virtual machine free pages may be the host's, who has to find and clear them at the first touch;
    those that were touched a moment ago are still there.
    """
    rates = []
    for _ in range(2):
        memory = mmap.mmap(-1, _TOUCHED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        begun_s = time.perf_counter()
        for at in range(0, _TOUCHED_BYTES, mmap.PAGESIZE):
            memory[at] = 1
        rates.append(_TOUCHED_BYTES / (time.perf_counter() - begun_s) / 1e9)
        memory.close()
    return rates[0], rates[1]


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

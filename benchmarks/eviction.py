"""How fast KV caches go to disk, by threads and by what is synced.

python benchmarks/eviction.py --caches 16 --mb 64 --rounds 5
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from swapbench.loaders.arrays import unmeasured
from swapbench.spec.strategy import Fsync
from swapbench.worker.engine.caches import CacheStore, ModelTag

_LAYERS, _HEADS, _HEAD_SIZE = 8, 8, 128


def cache_of(megabytes: int) -> list[KVCache]:
    """A cache of random values."""
    tokens = megabytes * 10**6 // (_LAYERS * _HEADS * _HEAD_SIZE * 2 * 2)
    layers = [KVCache() for _ in range(_LAYERS)]
    for layer in layers:
        shape = (1, _HEADS, tokens, _HEAD_SIZE)
        layer.update_and_fetch(*(mx.random.normal(shape).astype(mx.bfloat16) for _ in range(2)))
    mx.eval([layer.state for layer in layers])
    return layers


def main() -> None:
    """Measure every combination once a round, in another order each time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--caches", type=int, default=16)
    parser.add_argument("--mb", type=int, default=64, help="megabytes each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to write to")
    arguments = parser.parse_args()
    caches = [cache_of(arguments.mb) for _ in range(arguments.caches)]
    ways = [(workers, fsync) for workers in (1, 2, 4) for fsync in Fsync]
    seconds: dict[tuple[int, Fsync], list[float]] = {way: [] for way in ways}
    order = random.Random(0)
    written = 0
    for _ in range(arguments.rounds):
        for workers, fsync in order.sample(ways, len(ways)):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                store = CacheStore(Path(folder))
                store.update_tag(ModelTag("benchmark", "-", "benchmark"))
                for number, cache in enumerate(caches):
                    store.hold(str(number), list(cache), 1)
                begun_s = time.perf_counter()
                written = store.evict_all(unmeasured, workers, fsync).bytes
                seconds[workers, fsync].append(time.perf_counter() - begun_s)
    base = seconds[1, Fsync.EACH]
    print(
        f"{arguments.caches} caches, {written / 1e9:.2f} GB, {arguments.rounds} rounds; s: median (min-max)"
    )
    for (workers, fsync), taken in seconds.items():
        ratio = median(b / t for b, t in zip(base, taken, strict=True))
        print(
            f"{workers} threads, fsync {fsync:<4}  {median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f})  "
            f"{written / median(taken) / 1e9:.2f} GB/s  {ratio:.2f}x"
        )


if __name__ == "__main__":
    main()

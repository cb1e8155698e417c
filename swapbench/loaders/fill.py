"""fill: parallel reads straight into MLX's own unwritten arrays, huge pages where they exist.

Ordinary memory, owned and freed by MLX: safe wherever MLX can read from a file object at all.
"""

from pathlib import Path
from typing import Final

import mlx.core as mx

from swapbench.loaders.arrays import address_of, shards_of, unwritten_shard
from swapbench.loaders.platform import HUGE_PAGE_BYTES, ask_for_huge_pages
from swapbench.loaders.reading import Reading, Transfer
from swapbench.loaders.slab import Slab
from swapbench.loaders.source import Arrival, UnfitError, WeightSource
from swapbench.spec.strategy import Strategy

LOADERS: Final = {
    "fill": {
        "cost": "two threads while it reads",
        "avoid": "where slab or map is available",
        "fallback": "stock",
    },
}


class Fill:
    """Keeps nothing between loads."""

    def begin(self, checkpoint: Path) -> Arrival:
        weights: dict[str, mx.array] = {}
        transfers = []
        for shard in shards_of(checkpoint):
            arrays, asked = unwritten_shard(shard)
            expected = sum(array.nbytes for array in arrays.values())
            if sum(target.nbytes for _, target in asked) != expected:
                raise UnfitError("this MLX does not read a file object's tensors straight into their memory")
            weights |= arrays
            for offset, target in asked:
                if target.nbytes >= HUGE_PAGE_BYTES:
                    ask_for_huge_pages(address_of(target), target.nbytes)
                transfers.append(Transfer(shard.path, offset, target))
        reading = Reading(transfers)
        return Arrival(weights, reading.wait, reading.stop)

    def released(self) -> None:
        """Nothing is kept."""


def sources(_strategy: Strategy, _slab: Slab) -> dict[str, WeightSource]:
    """By the names that are declared above."""
    return {"fill": Fill()}

"""auto: what the page cache, memory and platform of the moment call for."""

from pathlib import Path
from typing import Final

from swapbench import allowance, page_cache
from swapbench.loaders.layout import shards_of
from swapbench.loaders.mapped import unmappable
from swapbench.loaders.slab import room_for
from swapbench.loaders.unfit import UnfitError
from swapbench.strategy import LoaderKind

# From here on reading what is missing costs less than copying what is there.
_RESIDENT_SHARE: Final = 0.9
# The system wants some for itself, and a KV cache grows.
_MEMORY_SHARE: Final = 0.9


def pick(checkpoint: Path, slab_bytes: int) -> tuple[LoaderKind, str]:
    """The loader for a checkpoint now, and why; `slab_bytes` of memory are held by a slab already.

    Raises:
        OSError: a file can't be looked at.
    """
    try:
        shards = shards_of(checkpoint)
    except UnfitError as error:
        return LoaderKind.STOCK, f"auto picked stock: {error}"
    share = page_cache.residency([shard.path for shard in shards]).share
    resident = f"{share:.0%} of it is in the page cache"
    hindrance = unmappable(shards)
    if share >= _RESIDENT_SHARE and not hindrance:
        return LoaderKind.MAP, f"auto picked map: {resident}"
    free = allowance.memory().available
    if room_for(shards) - slab_bytes > _MEMORY_SHARE * free.bytes:
        short = f"memory is too short for a copy{free.limited}"
        if hindrance:
            return LoaderKind.STOCK, f"auto picked stock: {short}, and map can't be: {hindrance}"
        return LoaderKind.MAP, f"auto picked map: {short}"
    if share >= _RESIDENT_SHARE:
        return LoaderKind.SLAB, f"auto picked slab: {resident}, and map can't be: {hindrance}"
    return LoaderKind.DIRECT, f"auto picked direct: {resident}"

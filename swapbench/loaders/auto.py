"""auto: what the page cache and memory of the moment call for, and what `swapbench probe` measured here."""

from pathlib import Path
from typing import Final

from swapbench.base.errors import UsageError
from swapbench.instruments import page_cache
from swapbench.loaders.arrays import shards_of
from swapbench.loaders.mapped import unmappable
from swapbench.loaders.slab import room_for
from swapbench.loaders.source import UnfitError
from swapbench.machine import allowance
from swapbench.machine.environment import Limits, Volume, load_limits, this_machine
from swapbench.models.cache import cache_root

LOADERS: Final = {
    "auto": {
        "cost": "a look at page cache and memory",
        "avoid": "where every swap must go the same way",
    },
}

# What counts as in the page cache: pages come and go by themselves.
_RESIDENT_SHARE: Final = 0.9
# The system wants some for itself, and a KV cache grows.
_MEMORY_SHARE: Final = 0.9


def pick(checkpoint: Path, slab_bytes: int, known: Limits | None) -> tuple[str, str]:
    """The loader for a checkpoint now, and why.

    Args:
        slab_bytes: memory that is held by a slab already.
        known: what was measured of the checkpoint's volume, as `limits_of` finds it.

    Raises:
        OSError: a file can't be looked at.
    """
    try:
        shards = shards_of(checkpoint)
    except UnfitError as error:
        return "stock", f"auto picked stock: {error}"
    share = page_cache.residency([shard.path for shard in shards]).share
    resident = f"{share:.0%} of it is in the page cache"
    hindrance = unmappable(shards)
    if share >= _RESIDENT_SHARE and not hindrance:
        return "map", f"auto picked map: {resident}"
    free = allowance.memory().available
    if room_for(shards) - slab_bytes > _MEMORY_SHARE * free.bytes:
        short = f"memory is too short for a copy{free.limited}"
        if hindrance:
            return "stock", f"auto picked stock: {short}, and map can't be: {hindrance}"
        return "map", f"auto picked map: {short}"
    if share >= _RESIDENT_SHARE:
        return "slab", f"auto picked slab: {resident}, and map can't be: {hindrance}"
    kind, measured = _slab_or_direct(known, share)
    return kind, f"auto picked {kind}: {resident}, {measured}"


def _slab_or_direct(known: Limits | None, share: float) -> tuple[str, str]:
    """Past the page cache where that, by what was measured, is no slower than reading what it lacks."""
    if known is None:
        return "slab", "and cold reads aren't measured there: run swapbench probe"
    direct, buffered, cached = known.best("disk"), known.best("disk_buffered"), known.best("read_touched")
    if direct is None or buffered is None:
        return "slab", "and probe has not measured cold reads both ways there"
    rates = f"{direct.median:.1f} GB/s past it and {buffered.median:.1f} through it by swapbench probe"
    resident = share / cached.median if cached else 0.0
    if 1 / direct.median <= (1 - share) / buffered.median + resident:
        return "direct", rates
    return "slab", rates


def limits_of(checkpoint: Path) -> Limits | None:
    """What `swapbench probe` measured of a checkpoint's volume; None where it hasn't."""
    try:
        return load_limits(this_machine(), Volume.of(checkpoint), cache_root())
    except (
        UsageError,
        UnicodeEncodeError,
        ImportError,
    ):  # nowhere to keep any, or no psutil to tell volumes by
        return None

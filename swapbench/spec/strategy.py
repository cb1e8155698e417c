"""Strategies: named ways to carry out the phases of a swap, as data; `swapbench.loaders` carries them out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import Field

from swapbench.spec.validation import Flag, Strict, Whole


class LoaderKind(StrEnum):
    """How weights come into memory."""

    STOCK = "stock"
    REUSE = "reuse"
    FILL = "fill"
    SLAB = "slab"
    DIRECT = "direct"
    MAP = "map"
    AUTO = "auto"


class TokenizerMode(StrEnum):
    """How the tokenizer is had: mlx-lm's way, parsed leanly beside everything else, or kept when parsed."""

    STOCK = "stock"
    OVERLAP = "overlap"
    KEEP = "keep"


class ReadAhead(StrEnum):
    """How much of the next model is read while the old one drains, into the slab's free part.

    spare: a slab 5 % larger than the largest model; double: one that holds the two largest.
    """

    OFF = "off"
    SPARE = "spare"
    DOUBLE = "double"


class Fsync(StrEnum):
    """What eviction makes sure of before it frees a cache: each file, all of them at the end, or nothing."""

    EACH = "each"
    ONCE = "once"
    OFF = "off"


class Strategy(Strict):
    """What a strategy does otherwise than mlx-lm alone would."""

    loader: LoaderKind = Field(
        LoaderKind.STOCK,
        description="how weights come into memory: `stock`, `reuse`, `fill`, `slab`, `direct`, `map`, `auto`",
    )
    tokenizer: TokenizerMode = Field(
        TokenizerMode.STOCK,
        description="`stock`: mlx-lm's way, after the weights; `overlap`: parsed leanly from the swap "
        "request on; `keep`: as overlap, and kept across swaps. The known names have "
        "`overlap`, but for `stock`",
    )
    overlap: Flag = Field(
        False, description="construct modules while the weights are read (fill, slab, direct, map)"
    )
    read_ahead: ReadAhead = Field(
        ReadAhead.OFF,
        description="`spare` or `double`: read the next model while the old one drains, into a slab 5 % "
        "larger than the largest model, or one for the two largest (slab, direct)",
    )
    incremental: Flag = Field(False, description="serve before every weight is resident (map)")
    give_back: Flag | None = Field(
        None,
        description="have malloc return freed memory to the system in unload, which costs time there and "
        "page faults in the next load (Linux). Where it is left out, all do but `stock`, since mlx_lm "
        "doesn't, and `reuse`",
    )
    evict_workers: Whole = Field(1, ge=1, le=64, description="threads that write KV caches at once")
    fsync: Fsync = Field(
        Fsync.EACH, description="`each` cache before it is freed, all of them `once`, or `off`"
    )

    @property
    def gives_back(self) -> bool:
        """Whether freed memory is returned to the system when a model is unloaded."""
        if self.give_back is not None:
            return self.give_back
        return self.loader not in (LoaderKind.STOCK, LoaderKind.REUSE)

    def describe(self) -> str:
        """In words: `slab, tokenizer overlap, read ahead spare`."""
        parts = [f"loader {self.loader}"]
        if self.tokenizer is not TokenizerMode.STOCK:
            parts.append(f"tokenizer {self.tokenizer}")
        if self.overlap:
            parts.append("modules beside the read")
        if self.read_ahead is not ReadAhead.OFF:
            parts.append(f"read ahead {self.read_ahead}")
        if self.incremental:
            parts.append("incremental")
        if self.give_back is not None:
            parts.append("gives memory back" if self.give_back else "keeps freed memory")
        if self.evict_workers > 1:
            parts.append(f"{self.evict_workers} evict workers")
        if self.fsync is not Fsync.EACH:
            parts.append(f"fsync {self.fsync}")
        return ", ".join(parts)


# What a name means where the experiment has no table of it. The denominator changes nothing at all.
NAMED: Final[dict[str, Strategy]] = {
    kind: Strategy(
        loader=kind,
        tokenizer=TokenizerMode.STOCK if kind is LoaderKind.STOCK else TokenizerMode.OVERLAP,
    )
    for kind in LoaderKind
}


@dataclass(frozen=True)
class Manual:
    """What a loader costs, and when it is the wrong one."""

    cost: str
    avoid: str


MANUALS: Final[dict[LoaderKind, Manual]] = {
    LoaderKind.STOCK: Manual(
        "on Linux, freed memory stays with the process, as in mlx_lm", "where swaps are to be fast"
    ),
    LoaderKind.REUSE: Manual(
        "freed memory stays with the process", "where other programs want the memory between models"
    ),
    LoaderKind.FILL: Manual("two threads while it reads", "where slab or map can be had"),
    LoaderKind.SLAB: Manual(
        "memory of the largest model, always", "where small models serve for hours, or models go cold"
    ),
    LoaderKind.DIRECT: Manual(
        "memory of the largest model, always", "where models stay in the page cache: it reads the disk anyhow"
    ),
    LoaderKind.MAP: Manual(
        "weights are page cache, which the system may take back",
        "where memory is short: tokens wait for disk",
    ),
    LoaderKind.AUTO: Manual("a look at page cache and memory", "where every swap must go the same way"),
}

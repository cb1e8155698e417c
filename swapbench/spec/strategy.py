"""Strategies: named ways to carry out the phases of a swap, as data; `swapbench.loaders` carries them out."""

import ast
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from swapbench.spec.validation import Flag, Strict, Whole


@dataclass(frozen=True)
class Loader:
    """A way to get weights into memory, as its module in swapbench.loaders declares it.

    Args:
        cost: what it costs, and `avoid`, when it is the wrong one; in words.
        fallback: the loader that is tried where this one can't; empty where there is none.
        keeps_memory: whether memory of the largest model is held, whichever serves.
    """

    name: str
    module: str
    cost: str
    avoid: str
    fallback: str = ""
    keeps_memory: bool = False


def _declared() -> dict[str, Loader]:
    """Read off the modules' text: importing one would bring MLX to whoever only wants to know its name."""
    found: dict[str, Loader] = {}
    for path in sorted(Path(__file__).parents[1].joinpath("loaders").glob("*.py")):
        table = re.search(
            r"^LOADERS: Final = (\{.*?^\})", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        for name, said in ast.literal_eval(table[1]).items() if table else ():
            found[name] = Loader(name, path.stem, **said)

    def distance(loader: Loader) -> int:
        return 1 + distance(found[loader.fallback]) if loader.fallback else 0

    # From mlx_lm's own way to what is furthest from it.
    return dict(sorted(found.items(), key=lambda item: (item[0] == "auto", distance(item[1]), item[0])))


LOADERS: Final = _declared()

if TYPE_CHECKING:
    LoaderName = str
else:
    LoaderName = Literal[*LOADERS]


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

    loader: LoaderName = Field(
        "stock", description=f"how weights come into memory: {', '.join(f'`{name}`' for name in LOADERS)}"
    )
    tokenizer: TokenizerMode = Field(
        TokenizerMode.STOCK,
        description="`stock`: mlx-lm's way, after the weights; `overlap`: parsed leanly from the swap "
        "request on; `keep`: as overlap, and kept across swaps. The known names have "
        "`overlap`, but for `stock`",
    )
    overlap: Flag = Field(False, description="construct modules beside the read (fill, slab, direct, map)")
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
    fsync: Fsync = Field(Fsync.EACH, description="`each` cache before it is freed, all `once`, or `off`")

    @property
    def gives_back(self) -> bool:
        """Whether freed memory is returned to the system when a model is unloaded."""
        return self.loader not in ("stock", "reuse") if self.give_back is None else self.give_back

    def describe(self) -> str:
        """In words: `slab, tokenizer overlap, read ahead spare`."""
        parts = {
            f"loader {self.loader}": True,
            f"tokenizer {self.tokenizer}": self.tokenizer is not TokenizerMode.STOCK,
            "modules beside the read": self.overlap,
            f"read ahead {self.read_ahead}": self.read_ahead is not ReadAhead.OFF,
            "incremental": self.incremental,
            "gives memory back": self.give_back is True,
            "keeps freed memory": self.give_back is False,
            f"{self.evict_workers} evict workers": self.evict_workers > 1,
            f"fsync {self.fsync}": self.fsync is not Fsync.EACH,
        }
        return ", ".join(part for part, said in parts.items() if said)


# What a name means where the experiment has no table of it. The denominator changes nothing at all.
NAMED: Final[dict[str, Strategy]] = {
    name: Strategy(loader=name, tokenizer=TokenizerMode.STOCK if name == "stock" else TokenizerMode.OVERLAP)
    for name in LOADERS
}

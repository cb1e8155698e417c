"""What a load gives: the model ready to compute, and how it came."""

from dataclasses import dataclass
from typing import Any

from swapbench.spec.strategy import LoaderKind


@dataclass(frozen=True)
class LoadReport:
    """How a model came into memory.

    Attributes:
        loader: what brought the weights; another than was asked for where `why` says so.
        why: reasons, as a sentence: what `auto` picked, what was fallen back from; empty when as asked.
        weight_bytes: bytes of all parameters.
        ahead_bytes: of these, what was there already when the old model was gone.
        kept_bytes: memory that the loader keeps, whichever model is in it: its slab.
        seconds: for weights and tokenizer together.
    """

    loader: LoaderKind
    why: str
    weight_bytes: int
    ahead_bytes: int
    kept_bytes: int
    seconds: float


@dataclass(frozen=True)
class Loaded:
    """A model ready to compute: every weight evaluated, and resident unless the strategy is incremental."""

    model: Any
    tokenizer: Any
    report: LoadReport

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters."""
        return self.report.weight_bytes

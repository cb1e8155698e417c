"""Ways to get a checkpoint's weights and tokenizer into memory, one module each."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

# Names a part of what is going on, for whoever measures it.
Span = Callable[[str], AbstractContextManager[None]]


def unmeasured(_name: str) -> AbstractContextManager[None]:
    """A span that nobody looks at."""
    return nullcontext()


@dataclass(frozen=True)
class Loaded:
    """A model ready to compute: every weight resident and evaluated."""

    model: Any
    tokenizer: Any
    weight_bytes: int

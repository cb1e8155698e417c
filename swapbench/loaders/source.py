"""What a loader brings: arrays that exist already, and bytes that are still coming; and how it says no."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx


class UnfitError(Exception):
    """A loader can't load this checkpoint here; the message is the reason, as a clause."""


class HeldError(UnfitError):
    """Somebody still holds arrays of the model before, whose memory would be overwritten under him."""


Span = Callable[[str], AbstractContextManager[None]]


def unmeasured(_name: str) -> AbstractContextManager[None]:
    """A span that nobody looks at."""
    return nullcontext()


def _nothing() -> None:
    """Nothing is under way."""


def _unwatched(_tenants: Iterable[Any]) -> None:
    """Memory is owned by its arrays: nobody has to know who holds them."""


@dataclass(frozen=True)
class Arrival:
    """A checkpoint's arrays by name, which must not be evaluated into anything else before `wait` returns.

    `stop` ends what is under way; nobody writes to the arrays any longer when it returns. `watch` is told of
    what has been made of the arrays: their memory is not used again before that is gone, too.
    """

    weights: dict[str, mx.array]
    wait: Callable[[], None] = _nothing
    stop: Callable[[], None] = _nothing
    watch: Callable[[Iterable[Any]], None] = _unwatched
    ahead_bytes: int = 0


class WeightSource(Protocol):
    """A way to bring weights into memory; lives as long as the process, with whatever it keeps."""

    def begin(self, checkpoint: Path) -> Arrival:
        """Start bringing a checkpoint's weights; the model before is gone.

        Raises:
            UnfitError: not this checkpoint, or not here.
            OSError: a file can't be read.
        """
        ...

    def released(self) -> None:
        """The model that came this way last is dropped, and MLX's cache with it."""
        ...

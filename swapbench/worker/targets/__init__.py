"""Targets: the systems under test, each of which serves one model and can swap it for another."""

from dataclasses import dataclass
from typing import Protocol

from swapbench.wire import Checkpoint
from swapbench.worker.meter import Meter
from swapbench.worker.probe import Probe


@dataclass(frozen=True)
class Outcome:
    """What a swap did besides taking time."""

    loaded_bytes: int | None = None
    resident_before: float | None = None
    drained_requests: int = 0
    carried_requests: int = 0
    evicted_caches: int = 0
    evicted_bytes: int = 0


class Target(Protocol):
    """What the session asks of a system under test. Only `swap` and `first_token` are measured."""

    @property
    def meter(self) -> Meter:
        """The instruments that measure this target."""
        ...

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions of what serves (name -> version), and the device it serves on."""
        ...

    def serve(self, checkpoint: Checkpoint) -> None:
        """Have `checkpoint` served, by whatever way; nothing is measured."""
        ...

    def prepare(self, to: Checkpoint, round_: int) -> None:
        """Put the page cache into its state for `to`, then the workload in place."""
        ...

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """Replace the served model by `to`, each of the eight phases inside `probe.phase`."""
        ...

    def outcome(self) -> Outcome:
        """What the last swap did, as far as it came."""
        ...

    def first_token(self, probe: Probe) -> None:
        """Ask the new model for a token, inside `probe.first_token`."""
        ...

    def roll_back(self) -> None:
        """After a failed swap: serve the old model again, and prove it by a real answer."""
        ...

    def finish(self) -> int:
        """Wait until every request of the workload is answered; returns how many.

        Raises:
            RuntimeError: a request was lost or failed.
        """
        ...

    def settle(self) -> float:
        """Wait until the ledgers stand still; returns the seconds that took."""
        ...

    def close(self) -> None:
        """Serve nothing any more."""
        ...

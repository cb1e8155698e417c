"""Your own orchestrator as a target: what it has to offer, and what it gets. docs/targets.md shows it in use.

A package names a class that keeps this protocol:

    [project.entry-points."swapbench.targets"]
    my-server = "my_package:MyServer"
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from swapbench.base.phases import Phase
from swapbench.spec.experiment import Workload

__all__ = ["GROUP", "REPORTED", "Orchestrator", "Phase", "Probe", "Workload"]

GROUP: Final = "swapbench.targets"

# What an orchestrator's `report` may tell of the last swap.
REPORTED: Final = (
    *("kv_capacity_bytes", "evicted_caches", "evicted_bytes", "restored_caches", "restored_tokens"),
    *("drained_requests", "carried_requests"),
)


class Probe(Protocol):
    """The stopwatch of one swap."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Measure a phase; one that is never entered stays empty in the results.

        A phase may be entered again once it is over: its times add up. Phases never overlap: one that is
        entered inside another raises, and names both.
        """
        ...

    def span(self, name: str) -> AbstractContextManager[None]:
        """Measure a named part of the phase that is going on; spans may overlap."""
        ...

    def first_token(self) -> AbstractContextManager[None]:
        """Measure from asking the new model until its first token is there; as a phase, and inside none."""
        ...


class Orchestrator(Protocol):
    """A system that serves one model and can swap it. Made without arguments, in a process of its own.

    Every method is called from one thread, and may raise whatever it likes: in `swap` and `verify` that is a
    failed swap, after which `stop` and `start` are to bring the old model back.

    An attribute `uses_mlx = True` says that models live in this very process, under MLX: its two ledgers are
    read then, and a phase ends only once the device is done.

    A method `report()`, where there is one, is called after each swap: it returns what can be told of it as a
    mapping of names in `REPORTED` to whole numbers, so that lost caches and a budget that drifts are seen.
    """

    def start(self, models: Mapping[str, Path], first: str) -> None:
        """Serve the model `first`; `models` has the checkpoint folder of every one that will be asked for."""
        ...

    def apply_workload(self, workload: Workload) -> None:
        """Put in flight what the experiment's [workload] says, right before a swap is asked for."""
        ...

    def swap(self, to: str, probe: Probe) -> None:
        """Serve the model `to` in the place of the one that is served; over when this returns.

        Whatever can be told apart belongs inside `probe.phase(...)`. What is outside of every phase counts
        as unattributed; a swap without any phase is measured as a whole.
        """
        ...

    def verify(self, model: str, probe: Probe) -> str:
        """Ask what is served now for a greedy answer, the wait for its first token in `probe.first_token()`.

        The whole answer is returned, and has to be the same whenever the same model serves. Called once for
        each model before its first swap, and after every swap.
        """
        ...

    def stop(self) -> None:
        """Serve nothing any more, and leave nothing behind; may be called twice."""
        ...

"""Faults that an experiment injects into the in-process target."""

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from swapbench.loaders.arrays import Span
from swapbench.machine.allowance import ByteLimit
from swapbench.spec.experiment import FaultKind, InjectedFault
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import PlannedSwap
from swapbench.worker.preparation import FULL_DISK_BYTES, damaged
from swapbench.worker.targets.inprocess import InProcessTarget

_LITTLE_MEMORY_BYTES: Final = 1 << 16


class FaultyTarget(InProcessTarget):
    """The in-process target, with the plan's faults in the swaps that they are meant for."""

    _fault: InjectedFault | None = None
    # What is loaded in place of the new model's checkpoint, which is itself where the fault damages no file.
    _damaged: Checkpoint | None = None

    def serve(self, checkpoint: Checkpoint) -> None:
        self._fault = None
        super().serve(checkpoint)

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        fault = self._plan.experiment.fault_in(planned.scenario, planned.round)
        before = fault is not None and fault.when == "before"
        self._fault = fault if before else None
        self._damaged = damaged(to, fault.kind if fault is not None else None, self._plan.scratch_dir)
        super().check(self._damaged if before else to, planned)
        self._fault = fault

    def _drain(self) -> None:
        if self._kind is FaultKind.DRAIN_NEVER_ENDS:
            # The engine's next step waits for something that never comes, as a lock would.
            assert self._loaded is not None
            model = self._loaded.model
            stuck = threading.Event()

            class Stuck(type(model)):  # type: ignore[misc]
                def __call__(self, *arguments: Any, **options: Any) -> Any:
                    stuck.wait()

            model.__class__ = Stuck
        super()._drain()

    def _evict(self, span: Span) -> None:
        with full_disk() if self._kind is FaultKind.DISK_FULL else nullcontext():
            super()._evict(span)

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        def killing(name: str) -> AbstractContextManager[None]:
            if name == "read":
                os.kill(os.getpid(), signal.SIGKILL)  # as the OOM killer does
            return span(name)

        if not self._is_meant_for(checkpoint):
            super()._load(checkpoint, span)
        elif self._kind is FaultKind.KILL:
            super()._load(checkpoint, killing)
        else:
            assert self._damaged is not None
            super()._load(self._damaged, span)

    def _room_for(self, checkpoint: Checkpoint) -> ByteLimit:
        if self._kind is FaultKind.MEMORY_LIMIT and self._is_meant_for(checkpoint):
            return ByteLimit(_LITTLE_MEMORY_BYTES, "a fault of the experiment")
        return super()._room_for(checkpoint)

    def _is_meant_for(self, checkpoint: Checkpoint) -> bool:
        """Rolling back loads the old model, which is whole and fits."""
        return self._fault is not None and (self._fault.when == "before" or checkpoint != self._fallback)

    @property
    def _kind(self) -> FaultKind | None:
        return None if self._fault is None else self._fault.kind


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow any further: writing fails in the middle, as when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

"""Faults that an experiment injects into a server from outside."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from swapbench.spec.experiment import FaultKind, InjectedFault, find_fault
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import PlannedSwap
from swapbench.worker.damage import DAMAGES, FULL_DISK_BYTES, damaged
from swapbench.worker.probe import Probe
from swapbench.worker.targets.http.client import ServerError
from swapbench.worker.targets.http.completion import Completion, WrongModelError
from swapbench.worker.targets.http.target import HttpTarget

_NO_MODEL: Final = "swapbench/there-is-no-such-model"
# From the request on: within any load, and after whatever a server does before it begins to.
_STRIKES_AFTER_S: Final = 0.1


class FaultyHttpTarget(HttpTarget):
    """A server, with the plan's faults in the swaps that they are meant for."""

    _fault: InjectedFault | None = None
    _gone = False

    def serve(self, checkpoint: Checkpoint) -> None:
        self._fault = None
        super().serve(checkpoint)

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        super().check(to, planned)
        self._fault = find_fault(self._plan.experiment.fault, planned.scenario, planned.round)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        kind = self._fault.kind if self._fault is not None else None
        self._fault = None
        with self._struck(kind):
            if kind is FaultKind.MISSING_MODEL or kind in DAMAGES:
                with self._named(to, kind):
                    super().swap(to, probe)
                name = "a model that is not there" if kind is FaultKind.MISSING_MODEL else "a damaged model"
                raise WrongModelError(f"asked for {name}, and another one answers, as if it were that")
            self._gone = kind is FaultKind.CLIENT_GONE
            super().swap(to, probe)

    def _ask_to_swap(self, to: Checkpoint) -> Completion:
        answer = super()._ask_to_swap(to)
        if self._gone:
            self._gone = False
            threading.Event().wait(_STRIKES_AFTER_S)
            answer.close()
            raise ServerError("the client went away in the middle of the swap, as the experiment wants")
        return answer

    @contextmanager
    def _named(self, model: Checkpoint, kind: FaultKind) -> Iterator[None]:
        """Call the model by a name that stands for nothing, or for a damaged copy."""
        names = self._servers.names
        right = names[model.name]
        copy = damaged(model, kind, self._plan.scratch_dir)
        names[model.name] = _NO_MODEL if copy is model else str(copy.path.absolute())
        try:
            yield
        finally:
            names[model.name] = right

    @contextmanager
    def _struck(self, kind: FaultKind | None) -> Iterator[None]:
        """Have the server's processes struck while a swap goes on."""
        if kind is FaultKind.KILL:
            timer = threading.Timer(_STRIKES_AFTER_S, self._kill_youngest)
            timer.start()
            try:
                yield
            finally:
                timer.join()
        elif kind is FaultKind.DISK_FULL:
            with _full_disk(self._servers.processes()):
                yield
        else:
            yield

    def _kill_youngest(self) -> None:
        """By SIGKILL: whoever was started last is who loads, in servers of several processes."""
        found = sorted(self._servers.processes(), key=lambda process: process.create_time())
        with suppress(psutil.Error, IndexError):
            found[-1].kill()


@contextmanager
def _full_disk(processes: list[psutil.Process]) -> Iterator[None]:
    """No file of these processes may grow any further: writing fails, as when a disk is full."""
    before = {}
    for process in processes:
        with suppress(psutil.Error):  # it has ended since
            before[process] = limits = _file_limit(process)
            _file_limit(process, (FULL_DISK_BYTES, limits[1]))
    try:
        yield
    finally:
        for process, limits in before.items():
            with suppress(psutil.Error):
                _file_limit(process, limits)


def _file_limit(process: psutil.Process, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """RLIMIT_FSIZE of another process, as it was."""
    if sys.platform != "linux":
        raise OSError("limits of other processes can be set on Linux only")
    return process.rlimit(psutil.RLIMIT_FSIZE, new) or process.rlimit(psutil.RLIMIT_FSIZE)

"""`python -m tests.e2e.stopping FOLDER`: an engine that is stopped for three seconds in its first swap."""

import os
import subprocess
import sys
from pathlib import Path

from swapbench.wire import Checkpoint
from swapbench.worker.leaving import leave
from swapbench.worker.probe import Probe
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.conftest import UNPROVEN
from tests.e2e.playing import carry_out

_STOP = 'kill -STOP "$0"; sleep 3; kill -CONT "$0"'


class Stopped(InProcessTarget):
    """Stopped from outside, as by a closed lid."""

    def __init__(self, plan: object) -> None:
        super().__init__(plan)  # type: ignore[arg-type]
        self._swaps = 0

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """As ever."""
        self._swaps += 1
        if self._swaps == 1:
            subprocess.Popen(["sh", "-c", _STOP, str(os.getpid())])
        super().swap(to, probe)


if __name__ == "__main__":
    overrides = [word for word in UNPROVEN if word != "--set"]
    carry_out(Stopped, "quick", [*overrides, "rounds=1", "warmup=0"], Path(sys.argv[1]) / "results")
    leave()

"""`python -m tests.e2e.stopping FOLDER`: an engine that is stopped for three seconds in its first swap."""

import os
import subprocess
import sys
import time
from pathlib import Path

from swapbench.loaders.arrays import Span
from swapbench.wire.plan import Checkpoint
from swapbench.worker.probe import SwapProbe
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.conftest import UNPROVEN
from tests.e2e.playing import carry_out

_STOP = 'kill -STOP "$0"; sleep 3; kill -CONT "$0"'


_NOTICED_S = 2.0


class Stopped(InProcessTarget):
    """Stopped from outside, as by a closed lid."""

    _swaps = 0

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """As ever."""
        self._swaps += 1
        super().swap(to, probe)

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        if self._swaps == 1:
            _be_stopped()
        super()._load(checkpoint, span)


def _be_stopped() -> None:
    """However late that comes on a busy machine, it is in the swap."""
    last_s = time.monotonic()
    subprocess.Popen(["sh", "-c", _STOP, str(os.getpid())])
    while (now_s := time.monotonic()) - last_s < _NOTICED_S:
        last_s = now_s
        time.sleep(0.001)


if __name__ == "__main__":
    overrides = [word for word in UNPROVEN if word != "--set"]
    carry_out(Stopped, "quick", [*overrides, "rounds=1", "warmup=0"], Path(sys.argv[1]) / "results")

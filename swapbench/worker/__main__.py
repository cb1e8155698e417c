"""`python -m swapbench.worker --events-fd N`: one plan on stdin, one event a line on descriptor N."""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from swapbench.wire.events import Event, RoundStarted, SwapStarted, encode
from swapbench.wire.plan import WIRE_VERSION, Plan
from swapbench.wire.swap import NO_SWAP, MemorySample
from swapbench.worker.meter import Meter
from swapbench.worker.process import STILLNESS, leave
from swapbench.worker.session import run_session
from swapbench.worker.targets import Target

_STDIN = 0
# However seldom memory is sampled.
_LOOK_EVERY_S = 0.05


class EventPipe:
    """Writes events, from any thread, and knows which swap is going on."""

    def __init__(self, descriptor: int, scratch_dir: Path) -> None:
        self._descriptor = descriptor
        self._scratch_dir = scratch_dir
        self._lock = threading.Lock()
        self.swap = NO_SWAP

    def send(self, event: Event) -> None:
        """One whole line, or the end of this process where nobody listens any more."""
        if isinstance(event, RoundStarted | SwapStarted):
            self.swap = event.swap
        line = memoryview(encode(event))
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                _end_orphaned(self._scratch_dir)


def main() -> None:
    parser = argparse.ArgumentParser(prog="swapbench.worker")
    parser.add_argument("--events-fd", type=int, required=True)
    events_fd = parser.parse_args().events_fd
    plan = Plan.model_validate_json(sys.stdin.buffer.readline())
    if plan.wire_version != WIRE_VERSION:
        sys.exit(f"this worker speaks wire version {WIRE_VERSION}, the plan {plan.wire_version}")
    pipe = EventPipe(events_fd, plan.scratch_dir)
    threading.Thread(target=_die_with_parent, args=(plan.scratch_dir,), daemon=True).start()
    target = make_target(plan)
    sampled = (target.meter, pipe, plan.experiment.sample_every_s)
    threading.Thread(target=_sample, args=sampled, name="sampler", daemon=True).start()
    try:
        run_session(plan, target, pipe.send, os.getpid())
    except BaseException:  # noqa: BLE001 - the process's border: it must end, whatever its threads wait for
        traceback.print_exc()
        leave(1)
    leave()


def make_target(plan: Plan) -> Target:
    """The target that the plan names; its libraries are imported only now."""
    faulty = bool(plan.experiment.fault)
    if plan.experiment.target == "scripted":
        module, name = "targets.scripted", "ScriptedTarget"
    elif plan.server is not None:
        module, name = "targets.http.target", "FaultyHttpTarget" if faulty else "HttpTarget"
    elif plan.orchestrator:
        module, name = "targets.orchestrated", "OrchestratedTarget"
    elif plan.experiment.target == "sharded":
        module, name = "targets.sharded", "ShardedTarget"
    elif faulty:
        module, name = "faults", "FaultyTarget"
    else:
        module, name = "targets.inprocess", "InProcessTarget"
    target: Target = getattr(import_module(f"swapbench.worker.{module}"), name)(plan)
    return target


def _die_with_parent(scratch_dir: Path) -> None:
    """The parent holds our stdin open while it lives; a model that nobody measures must not stay."""
    # Not through sys.stdin: a thread blocked inside its buffer would break the interpreter's shutdown.
    while os.read(_STDIN, 4096):
        pass
    _end_orphaned(scratch_dir)


def _end_orphaned(scratch_dir: Path) -> NoReturn:
    """Of the two pipes by which a dead parent shows, either may be noticed first."""
    shutil.rmtree(scratch_dir, ignore_errors=True)
    if os.getpgrp() == os.getpid():  # whatever this worker has started goes with it, stopped or not
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _sample(meter: Meter, pipe: EventPipe, every_s: float) -> None:
    pause = threading.Event()
    next_s = time.monotonic() + every_s
    while True:
        pause.wait(min(every_s, _LOOK_EVERY_S))
        STILLNESS.look()
        if time.monotonic() < next_s:
            continue
        next_s = time.monotonic() + every_s
        swap = meter.swap()
        sample = MemorySample(
            swap=pipe.swap,
            t_s=meter.now_s(),
            ledgers=meter.read(),
            swap_used_bytes=swap.used_bytes,
            swap_out_bytes=swap.out_bytes,
        )
        pipe.send(sample)


if __name__ == "__main__":
    main()

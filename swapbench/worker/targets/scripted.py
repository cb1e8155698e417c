"""A target that plays a script on a clock of its own: whole experiments in milliseconds, to the byte."""

import os
import signal
import threading

from swapbench.base.phases import PHASES, Phase
from swapbench.instruments.ledgers import SwapSpace
from swapbench.spec.experiment import Script, ScriptedSwap
from swapbench.wire.plan import Checkpoint, Plan, Reply
from swapbench.wire.swap import PlannedSwap, Reading, Recovery
from swapbench.worker.meter import Counters, Meter, Settled
from swapbench.worker.probe import SwapProbe
from swapbench.worker.targets import NONE_SEEN, Target

_MACHINE_BYTES = 24 << 30
_PROCESS_BYTES = 100 << 20
_PAGE_BYTES = 4096


class ScriptedError(RuntimeError):
    """The failure that the script asked for."""


class ScriptedMeter(Meter):
    """A clock that moves only when the script says so, and ledgers that hold what it says."""

    clock_origin_ns: int | None = None

    def __init__(self) -> None:
        self._now_s = 0.0
        self._loaded_bytes = 0
        self._leaked_bytes = 0
        self._peak_bytes = 0
        self._faults = 0

    def advance(self, seconds: float) -> None:
        self._now_s += seconds

    def hold(self, model_bytes: int) -> None:
        """Have a model of that size resident, and no other."""
        self._faults += max(0, model_bytes - self._loaded_bytes) // _PAGE_BYTES
        self._loaded_bytes = model_bytes
        self._peak_bytes = max(self._peak_bytes, self._active_bytes())

    def leak(self, leaked_bytes: int) -> None:
        self._leaked_bytes += leaked_bytes

    def now_s(self) -> float:
        return self._now_s

    def read(self, *, exact: bool = False) -> Reading:
        """Model and leak are MLX's; the process weighs as much more as it imports."""
        footprint = self._active_bytes() + _PROCESS_BYTES
        return Reading(
            mlx_active_bytes=self._active_bytes(),
            mlx_cache_bytes=0,
            footprint_bytes=footprint,
            system_available_bytes=_MACHINE_BYTES - footprint,
        )

    def read_inside(self) -> Reading:
        return Reading(mlx_active_bytes=self._active_bytes(), mlx_cache_bytes=0)

    def counters(self) -> Counters:
        """One minor fault for each page that was ever held."""
        return Counters(self._faults, 0, 0)

    def start_peak(self) -> None:
        self._peak_bytes = self._active_bytes()

    def peak_bytes(self) -> int | None:
        return self._peak_bytes

    def swap(self) -> SwapSpace:
        return SwapSpace(0, 0)

    def _active_bytes(self) -> int:
        return self._loaded_bytes + self._leaked_bytes


class ScriptedTarget(Target):
    """Plays `[script]`: durations, memory and failures of every swap."""

    _nothing = NONE_SEEN

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        assert plan.experiment.script is not None
        self.meter: ScriptedMeter = ScriptedMeter()
        self._script: Script = plan.experiment.script
        self._playing = ScriptedSwap(scenario="")

    def identity(self) -> tuple[dict[str, str], str]:
        return {}, "scripted"

    def serve(self, checkpoint: Checkpoint) -> None:
        self._outcome = NONE_SEEN
        self._hold(checkpoint)

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Find what the script says of this swap, the more particular entry first; of the page cache, too."""
        entries = [s for s in self._script.swap if s.scenario == planned.scenario]
        fitting = [s for s in entries if s.round in (None, planned.round)]
        plain = ScriptedSwap(scenario=planned.scenario)
        self._playing = min(fitting, key=lambda entry: entry.round is None, default=plain)
        self._tell(resident_before=self._script.resident)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """Play the phases, each as long as the script says, failing where it says."""
        probe.begin()
        for phase in PHASES:
            with probe.phase(phase):
                self._play(phase, to, probe)

    def first_token(self, probe: SwapProbe) -> None:
        seconds = self._playing.first_token_s
        with probe.first_token():
            self.meter.advance(self._script.first_token_s if seconds is None else seconds)

    def replies(self) -> tuple[Reply, ...]:
        """What a fresh process says, of this model or of the one that the script has answer in its place."""
        return self._plan.expected[self._playing.answers_as or self.served.name]

    def roll_back(self, old: Checkpoint) -> Recovery:
        """Hold the old model again, unless the script forbids it."""
        if not self._playing.rollback:
            raise ScriptedError("the script lets the old model not come back")
        self._hold(old)
        return "itself"

    def finish(self) -> int:
        return self._plan.experiment.workload.requests

    def settle(self) -> Settled:
        return Settled(0.0, self.meter.read())

    def close(self) -> None:
        self.meter.hold(0)

    def _play(self, phase: Phase, to: Checkpoint, probe: SwapProbe) -> None:
        seconds = self._script.seconds | self._playing.seconds
        named = {key: s for key, s in self._script.spans.items() if key.startswith(f"{phase}/")}
        for key, span_s in named.items():
            with probe.span(key.partition("/")[2]):
                self.meter.advance(span_s)
        self.meter.advance(max(0.0, seconds.get(phase, 0.0) - sum(named.values())))
        if self._playing.fails_in == phase:
            self._fail()
        if phase is Phase.DRAIN:
            self._tell(drained_requests=self._plan.experiment.workload.requests)
        elif phase is Phase.UNLOAD:
            self.meter.leak(self._script.leak_bytes)
            self.meter.hold(0)
        elif phase is Phase.LOAD:
            self._hold(to)
            self._tell(loaded_bytes=self._size(to))

    def _fail(self) -> None:
        match self._playing.failure:
            case "exit":
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                threading.Event().wait()
        raise ScriptedError(f"the script fails {self._playing.scenario} here")

    def _hold(self, checkpoint: Checkpoint) -> None:
        self._served = checkpoint
        self.meter.hold(self._size(checkpoint))

    def _size(self, checkpoint: Checkpoint) -> int:
        return self._script.model_bytes.get(checkpoint.name, 0)

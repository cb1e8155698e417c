"""Somebody's own orchestrator, by the protocol of swapbench.orchestrator, as the session drives it."""

import os
from contextlib import suppress
from importlib.metadata import EntryPoint
from typing import cast

from swapbench.orchestrator import GROUP, REPORTED, Orchestrator
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import NO_SWAP, PlannedSwap, Recovery, Restored, SwapOutcome
from swapbench.worker.meter import Meter, MlxMeter, TreeMeter
from swapbench.worker.preparation import set_page_cache
from swapbench.worker.probe import SwapProbe
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets import Target


class OrchestratedTarget(Target):
    """Calls the orchestrator's five methods, and remembers what each model says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        own = EntryPoint(plan.experiment.target, plan.orchestrator, GROUP).load()()
        self._own = cast(Orchestrator, own)
        self._uses_mlx = getattr(own, "uses_mlx", False)
        self.meter: Meter = MlxMeter() if self._uses_mlx else TreeMeter(here=True)
        if isinstance(self.meter, TreeMeter):
            self.meter.watch([os.getpid()])
        self._started = False
        self._said: dict[str, str] = {}
        self._answer = ""

    def identity(self) -> tuple[dict[str, str], str]:
        """Of MLX's packages, if models live here; the device is MLX's, or the orchestrator's name."""
        if not self._uses_mlx:
            return {}, self._plan.experiment.target
        from swapbench.compat import mlx_identity

        return mlx_identity()

    def serve(self, checkpoint: Checkpoint) -> None:
        self._outcome = SwapOutcome()
        if self._served is None:  # never started, or nobody knows what became of the last swap
            self._start(checkpoint)
        elif self._served != checkpoint:
            self._served = None
            self._swap_unmeasured(checkpoint)
            self._served = checkpoint
        remembers = self._plan.asks_of(checkpoint.name) and self._plan.experiment.verify.tokens > 0
        if remembers and checkpoint.name not in self._said:
            self._said[checkpoint.name] = self._own.verify(checkpoint.name, self._unmeasured())

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        set_page_cache(to, self._plan.page_cache_of(planned.scenario))
        self._own.apply_workload(self._plan.experiment.workload)
        self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """By its own way, phase by phase as far as it tells."""
        self._served = None
        probe.begin()
        self._own.swap(to.name, probe)
        probe.over()
        self._served = to
        told = dict(getattr(self._own, "report", dict)())
        for name, value in told.items():
            if name not in REPORTED or not isinstance(value, int) or value < 0:
                known = ", ".join(REPORTED)
                raise ValueError(f"report() told {name}={value!r}; it may tell whole numbers of {known}")
        self._tell(seen="phases" if probe.phase_s else "call", loaded_bytes=to.weight_bytes, **told)

    def first_token(self, probe: SwapProbe) -> None:
        """The first of the greedy answer that is verified later."""
        self._answer = self._own.verify(self.served.name, probe)
        probe.refuse_overlap()

    def restore(self) -> Restored:
        told = self._outcome
        return Restored(caches=told.restored_caches, tokens=told.restored_tokens, bytes=None)

    def verify(self, to: Checkpoint) -> int | None:
        """How many characters of the answer, which the first token began, are as this model has always
        said; a MismatchError if it says something else, or what another model says."""
        answer = self._answer
        if self._plan.experiment.verify.tokens == 0:
            return None
        expected = self._said.setdefault(to.name, answer)
        if answer == expected:
            return len(answer)
        others = [name for name, said in self._said.items() if said == answer and name != to.name]
        whose = f"what {others[0]} says" if others else "something else than before"
        raise MismatchError(f"{to.name}: the new model says {whose}: {answer[:60]!r}, not {expected[:60]!r}")

    def roll_back(self, old: Checkpoint) -> Recovery:
        """It is asked first, then told to swap back, and only then stopped and started again."""
        if self._serves(old):
            return "itself"
        with suppress(Exception):  # of somebody else's code: the answer tells
            self._swap_unmeasured(old)
        if self._serves(old):
            return "swap"
        self._start(old)
        return "restart"

    def answer(self) -> None:
        self._own.verify(self.served.name, self._unmeasured())

    def close(self) -> None:
        self._served = None
        if self._started:
            self._own.stop()

    def _serves(self, model: Checkpoint) -> bool:
        """Whether it answers as this model, as far as is known what that says."""
        try:
            said = self._own.verify(model.name, self._unmeasured())
        except Exception:  # noqa: BLE001 - as above
            return False
        if said != self._said.get(model.name, said):
            return False
        self._served = model
        return True

    def _start(self, checkpoint: Checkpoint) -> None:
        if self._started:
            self._own.stop()
        self._started = True
        folders = {name: each.path for name, each in self._plan.checkpoints.items()}
        self._own.start(folders, checkpoint.name)
        self._served = checkpoint

    def _unmeasured(self) -> SwapProbe:
        return SwapProbe(self.meter, lambda _: None, NO_SWAP)

    def _swap_unmeasured(self, to: Checkpoint) -> None:
        probe = self._unmeasured()
        try:
            self._own.swap(to.name, probe)
        except BaseException as error:
            if probe.failure is None and isinstance(error, Exception):
                raise
            raise RuntimeError(probe.told(error, "swap")) from error

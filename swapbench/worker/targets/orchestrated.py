"""Somebody's own orchestrator, by the protocol of swapbench.orchestrator, as the session drives it."""

import os
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any, Literal, cast

from swapbench.orchestrator import GROUP, REPORTED, Orchestrator
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import NO_SWAP, PlannedSwap, Recovery, Restored, SwapOutcome
from swapbench.worker.meter import Meter
from swapbench.worker.preparation import set_page_cache
from swapbench.worker.probe import Probe
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets import Target


class OrchestratedTarget(Target):
    """Calls the orchestrator's five methods, and remembers what each model says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._own = _made(plan.experiment.target, plan.orchestrator)
        self.meter = _meter(self._own)
        self._folders = {name: checkpoint.path for name, checkpoint in plan.checkpoints.items()}
        self._started = False
        self._said: dict[str, str] = {}
        self._answer = ""
        self._outcome = SwapOutcome()

    def identity(self) -> tuple[dict[str, str], str]:
        """Of MLX's packages, if models live here; the device is MLX's, or the orchestrator's name."""
        if not getattr(self._own, "uses_mlx", False):
            return {}, self._plan.experiment.target
        from swapbench.worker.mlx_here import mlx_identity

        return mlx_identity()

    def serve(self, checkpoint: Checkpoint) -> None:
        self._outcome = SwapOutcome()
        if self._served is None:  # never started, or nobody knows what became of the last swap
            self._start(checkpoint)
        elif self._served != checkpoint:
            self._served = None
            self._swap_unmeasured(checkpoint)
            self._served = checkpoint
        if self._remembers(checkpoint) and checkpoint.name not in self._said:
            self._remember(checkpoint, self._own.verify(checkpoint.name, self._unmeasured()))

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        label = self._plan.page_cache_of(planned.scenario)
        set_page_cache(to, label)
        self._own.apply_workload(self._plan.experiment.workload)
        self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """By its own way, phase by phase as far as it tells."""
        self._fallback, self._served = self._served, None
        probe.begin()
        self._own.swap(to.name, probe)
        probe.over()
        self._served = to
        seen: Literal["phases", "call"] = "phases" if probe.phase_s else "call"
        self._outcome = replace(self._outcome, seen=seen, loaded_bytes=to.weight_bytes, **self._reported())

    def first_token(self, probe: Probe) -> None:
        """The first of the greedy answer that is verified later."""
        assert self._served is not None
        self._answer = self._own.verify(self._served.name, probe)
        probe.refuse_overlap()

    def restore(self) -> Restored:
        told = self._outcome
        return Restored(caches=told.restored_caches, tokens=told.restored_tokens, bytes=None)

    def verify(self, to: Checkpoint) -> int | None:
        """The answer that the first token began is to be what this model has always said.

        Raises:
            MismatchError: it is not, or is another model's.
        """
        return self._remember(to, self._answer)

    def roll_back(self) -> Recovery:
        """It is asked first, then told to swap back, and only then stopped and started again."""
        old = self._fallback
        assert old is not None
        if self._serves(old):
            return "itself"
        with suppress(Exception):  # of somebody else's code: the answer tells
            self._swap_unmeasured(old)
        if self._serves(old):
            return "swap"
        self._start(old)
        return "restart"

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

    def answer(self) -> None:
        assert self._served is not None
        self._own.verify(self._served.name, self._unmeasured())

    def close(self) -> None:
        self._served = None
        if self._started:
            self._own.stop()

    def _reported(self) -> dict[str, Any]:
        """What it tells of the swap, if it tells anything.

        Raises:
            ValueError: of what is no figure, or not known.
        """
        told = dict(getattr(self._own, "report", dict)())
        for name, value in told.items():
            if name not in REPORTED or not isinstance(value, int) or value < 0:
                known = ", ".join(REPORTED)
                raise ValueError(f"report() told {name}={value!r}; it may tell whole numbers of {known}")
        return told

    def _remembers(self, model: Checkpoint) -> bool:
        return self._plan.asks_of(model.name) and self._plan.experiment.verify.tokens > 0

    def _start(self, checkpoint: Checkpoint) -> None:
        if self._started:
            self._own.stop()
        self._started = True
        self._own.start(self._folders, checkpoint.name)
        self._served = checkpoint

    def _unmeasured(self) -> Probe:
        return Probe(self.meter, lambda _: None, NO_SWAP)

    def _swap_unmeasured(self, to: Checkpoint) -> None:
        probe = self._unmeasured()
        try:
            self._own.swap(to.name, probe)
        except BaseException as error:
            if probe.failure is None and isinstance(error, Exception):
                raise
            raise RuntimeError(probe.told(error, "swap")) from error

    def _remember(self, model: Checkpoint, answer: str) -> int | None:
        """Compare an answer with the first one of its model; how many characters there were to compare."""
        if self._plan.experiment.verify.tokens == 0:
            return None
        expected = self._said.setdefault(model.name, answer)
        if answer == expected:
            return len(answer)
        others = [name for name, said in self._said.items() if said == answer and name != model.name]
        whose = f"what {others[0]} says" if others else "something else than before"
        raise MismatchError(
            f"{model.name}: the new model says {whose}: {answer[:60]!r}, not {expected[:60]!r}"
        )


def _made(name: str, where: str) -> Orchestrator:
    made = EntryPoint(name, where, GROUP).load()()
    return cast(Orchestrator, made)


def _meter(own: Orchestrator) -> Meter:
    if getattr(own, "uses_mlx", False):
        from swapbench.worker.meter import MlxMeter

        return MlxMeter()
    from swapbench.worker.meter import TreeMeter

    meter = TreeMeter(here=True)
    meter.watch([os.getpid()])
    return meter

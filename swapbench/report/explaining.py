"""What a run does and why, for those who ask for it with --verbose."""

from collections.abc import Iterator, Mapping
from typing import Final

from swapbench.base.figures import memory, size
from swapbench.spec.experiment import Experiment, PageCache
from swapbench.wire.events import Event, StepStarted, SwapStarted, TurnStarted, WorkerReady
from swapbench.wire.plan import Arm
from swapbench.wire.swap import PhaseMeasured, SwapFinished

_PAGE_CACHE: Final[Mapping[PageCache, str]] = {
    PageCache.WARM: "read into the page cache, so that the disk is out of it",
    PageCache.COLD: "dropped from the page cache, so that they come from disk",
    PageCache.AS_IS: "left in the page cache as they are, and only looked at",
}
_STEPS: Final[Mapping[str, str]] = {
    "checking": "what can be known of the new checkpoint, while the old model is untouched",
    "preparing": "agents' caches and requests in flight; {page_cache}",
    "answering": "requests that were carried over, and those that wait",
    "decoding": "a second request, for the steady rate",
    "restoring": "agents' caches that come back have to go on as before",
    "verifying": "the new model has to say what a process says that loaded it afresh",
    "settling": "until the ledgers stand still, so that memory is read when it is back",
}


def opening(arm: Arm, side: str) -> Iterator[str]:
    """What is known of a run's arm before it begins."""
    who = f"{side}: " if side else ""
    yield f"{who}the worker runs {arm.python}, since the process that measures others holds no MLX"
    for model in arm.checkpoints.values():
        where = f", {model.path}" if model.path.parts else ""
        yield f"{who}{model.name}: {model.source}, {size(model.weight_bytes)}{where}"
    for name, how in arm.experiment.strategy.items():
        yield f"{who}strategy {name}: {how.describe()}"


def explanations(event: Event, experiment: Experiment, side: str, *, claims: bool = True) -> Iterator[str]:
    """What an event means. Without `claims` the models are stand-ins, and held against no target."""
    match event:
        case TurnStarted() if side:
            yield f"the turn of {side}, in a process of its own"
        case WorkerReady():
            held = event.baseline.footprint_bytes
            yield f"worker {event.pid} holds no model yet" + (f": {memory(held)}" if held else "")
        case SwapStarted():
            swap = event.swap
            yield f"{swap.scenario}: {swap.from_model} → {swap.to_model}, strategy {swap.strategy}"
        case StepStarted():
            yield from _step(event.step, experiment, event.swap.scenario)
        case PhaseMeasured(span=""):
            yield f"  {event.phase} {event.seconds:.3f} s{_grown(event)}"
        case SwapFinished():
            yield from (f"  {text}" for text in _proofs(event, experiment.target_s if claims else None))


def _step(step: str, experiment: Experiment, scenario: str) -> Iterator[str]:
    if step.startswith("serving "):
        yield f"  {step}: the model that the swap begins with has to be served"
    elif step in _STEPS:
        label = experiment.page_cache_of(next(s for s in experiment.scenario if s.name == scenario))
        files = f"page cache {label}: the new model's files are {_PAGE_CACHE[label]}"
        yield f"  {step}: {_STEPS[step].format(page_cache=files)}"


def _grown(event: PhaseMeasured) -> str:
    before, after = event.before.mlx_active_bytes, event.after.mlx_active_bytes
    if before is None or after is None or memory(before) == memory(after):
        return ""
    return f", MLX {memory(before)} → {memory(after)}"


def _proofs(event: SwapFinished, target_s: float | None) -> Iterator[str]:
    told = event.outcome
    if told.resident_before is not None:
        yield f"{told.resident_before:.0%} of the new model's files were in the page cache before load"
    if not event.valid and event.invalid_reason:
        yield f"invalid, and left out of statistics: {event.invalid_reason}"
    if told.loader is not None:
        yield f"loaded by {told.loader}" + (f": {told.loader_why}" if told.loader_why else "")
    if event.verified_tokens:
        yield f"{event.verified_tokens} tokens are those of a fresh process"
    if event.timing.total_s and target_s is not None:
        yield _against(event.timing.total_s, target_s)
    if event.settle_s is not None:
        yield f"memory stood still after {event.settle_s:.2f} s"


def _against(total_s: float, target_s: float) -> str:
    if total_s > target_s:
        return f"over the target of {target_s:g} s"
    return f"{target_s / total_s:.1f} times under the target of {target_s:g} s"

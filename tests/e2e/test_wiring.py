"""When the engine's memory is wired: by mlx_lm.server's rule, or as an experiment wants it."""

import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from swapbench.loaders.arrays import Span
from swapbench.models.locate import provide
from swapbench.spec.experiment import find, load
from swapbench.spec.overrides import sets
from swapbench.wire.events import Event
from swapbench.wire.plan import Arm, Checkpoint, make_plan, turns
from swapbench.wire.swap import SwapFinished
from swapbench.worker.probe import SwapProbe
from swapbench.worker.session import run_session
from swapbench.worker.targets.inprocess import InProcessTarget

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MOST = 17 << 30


class Metal:
    """What MLX would do with a wired limit, which its CPU build doesn't have."""

    def __init__(self) -> None:
        self.limit = 0

    def set(self, limit: int) -> int:
        old, self.limit = self.limit, limit
        return old


class Watched(InProcessTarget):
    """Sees what may be wired when a model is loaded, and when it has been swapped in."""

    metal: Metal
    seen: list[tuple[int, int]]

    def _load(self, checkpoint: Checkpoint, span: Span) -> None:
        self.at_load = self.metal.limit
        super()._load(checkpoint, span)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """As ever."""
        super().swap(to, probe)
        self.seen.append((self.at_load, self.metal.limit))


@pytest.mark.parametrize(("wired", "seen"), [("server", (MOST, MOST)), ("load", (0, MOST)), ("off", (0, 0))])
def test_a_model_is_loaded_and_served_under_the_limit_that_is_asked_for(
    wired: str, seen: tuple[int, int], tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metal = Watched.metal = Metal()
    Watched.seen = []
    known: dict[str, Any] = dict(mx.device_info())
    monkeypatch.setattr(mx, "device_info", lambda: known | {"max_recommended_working_set_size": MOST})
    monkeypatch.setattr(mx, "set_wired_limit", metal.set)
    monkeypatch.setenv("SWAPBENCH_CACHE", str(model_cache))
    asked = ["rounds=1", "warmup=0", "verify.tokens=0", f"engine.wired={wired}"]
    experiment = load(find("quick"), sets(asked))
    arm = Arm("", experiment, provide(experiment.models, experiment.source, lambda _: None), sys.executable)
    events: list[Event] = []
    target = Watched(make_plan(arm, turns(experiment)[0], tmp_path / "caches"))
    try:
        run_session(target._plan, target, events.append, pid=1)
    finally:
        target.close()
    assert [event.status for event in events if isinstance(event, SwapFinished)] == ["ok", "ok"]
    assert Watched.seen == [seen, seen]

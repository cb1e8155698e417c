"""A pool of buffers as large as Metal's comes back to the system when a model is unloaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import mlx.core as mx
import pytest

from swapbench.loaders.span import Span, unmeasured
from swapbench.results import list_runs, read
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.playing import carry_out

pytestmark = pytest.mark.e2e

# Three times what MLX's CPU build keeps by itself.
POOL_BYTES = 96 << 20


class Pooled(InProcessTarget):
    """Frees a large buffer just before each model goes, and looks at MLX's cache around its unloading."""

    seen: ClassVar[list[tuple[int, int]]] = []

    def _stop(self) -> None:
        super()._stop()
        mx.eval(mx.arange(POOL_BYTES, dtype=mx.uint8))

    def _unload(self, span: Span = unmeasured) -> None:
        before = mx.get_cache_memory()
        super()._unload(span)
        self.seen.append((before, mx.get_cache_memory()))


@pytest.fixture
def limit_of_metal() -> Iterator[None]:
    """Metal keeps up to one and a half times its working set."""
    before = mx.set_cache_limit(8 << 30)
    yield
    mx.set_cache_limit(before)


@pytest.mark.usefixtures("limit_of_metal")
def test_what_mlx_had_pooled_is_the_systems_again_after_unload(
    tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(model_cache))
    asked = ["rounds=1", "warmup=0", "verify.tokens=0", "settle_after_unload=true"]
    Pooled.seen.clear()
    carry_out(Pooled, "quick", asked, tmp_path)
    assert {(before >= POOL_BYTES, after) for before, after in Pooled.seen} == {(True, 0)}
    ((path, _),) = list_runs(tmp_path)
    run = read(path)
    assert run.swaps["released_mlx_cache_bytes"].tolist() == [0, 0]
    unload = run.phases[(run.phases["phase"] == "unload") & (run.phases["span"] == "")]
    freed = unload["footprint_before_bytes"] - unload["footprint_after_bytes"]
    assert len(unload) == 2
    assert (freed > 0.9 * POOL_BYTES).all()

"""`python -m tests.e2e.pooled OUT`: a run whose every swap leaves a large buffer in MLX's cache.

A process of its own: what malloc does with freed memory hangs on what a process has done before.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx

from swapbench.loaders.arrays import Span, unmeasured
from swapbench.worker.targets.inprocess import InProcessTarget
from tests.e2e.playing import carry_out

# Three times what MLX's CPU build keeps by itself.
POOL_BYTES = 96 << 20


class Pooled(InProcessTarget):
    """Frees a large buffer just before each model goes; says what MLX caches before and after it unloads."""

    def _stop(self) -> None:
        super()._stop()
        mx.eval(mx.arange(POOL_BYTES, dtype=mx.uint8))

    def _unload(self, span: Span = unmeasured) -> None:
        before = mx.get_cache_memory()
        super()._unload(span)
        print(json.dumps([before, mx.get_cache_memory()]), flush=True)


if __name__ == "__main__":
    # Metal keeps up to one and a half times its working set.
    mx.set_cache_limit(8 << 30)
    asked = ["rounds=1", "warmup=0", "verify.tokens=0", "settle_after_unload=true"]
    carry_out(Pooled, "quick", asked, Path(sys.argv[1]))

"""What real models say, loaded by one strategy after another and asked through the batch engine:
`python -m tests.e2e.speaking`, in a process of its own, prints a line of JSON for each answer."""

import gc
import json
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from scripts.real_models import GEMMA_3, SMOLLM2, checkpoints, quantised
from swapbench.loaders import load
from swapbench.strategy import NAMED
from swapbench.worker.engine.batch import BatchEngine, Request
from swapbench.worker.engine.blocks import BlockPool
from swapbench.worker.engine.geometry import KVGeometry

# How a model goes on, in bfloat16 and in 4-bit: three times as likely as the next word, at least.
SAYINGS: Final = {
    SMOLLM2: ("The capital of France is", "Paris"),
    GEMMA_3: ("Romeo and", "Juliet"),
}
# Back again, too: into memory that a strategy has kept, and that held the other model meanwhile.
COURSE: Final = (SMOLLM2, GEMMA_3, SMOLLM2)

_PATIENCE_S: Final = 120.0


def main() -> None:
    """Ask every model."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        for strategy in NAMED:
            for name in COURSE:
                _tell(thread, strategy, name, SAYINGS[name][0])
        for name, (beginning, _) in SAYINGS.items():
            _tell(thread, "auto", quantised(name), beginning)


def _tell(thread: Executor, strategy: str, name: str, beginning: str) -> None:
    said = _answer(thread, checkpoints()[name], strategy, beginning)
    gc.collect()  # or the next load finds the old model still there
    print(json.dumps({"strategy": strategy, "model": name, "said": said}), flush=True)


def _answer(thread: Executor, path: Path, strategy: str, beginning: str) -> str:
    model, tokenizer, _ = load(path, strategy)
    engine = BatchEngine(model, tokenizer, _pool(model), thread, max_batch=1, name=path.name, batches=True)
    try:
        prompt_tokens = len(tokenizer.encode(beginning))
        request = Request("beginning", beginning, prompt_tokens=prompt_tokens, max_tokens=1)
        return engine.submit(request).result(_PATIENCE_S).text.strip()
    finally:
        engine.stop()


def _pool(model: Any) -> BlockPool:
    pool = BlockPool(1 << 28, 16)
    pool.reconfigure(KVGeometry.of(model))
    return pool


if __name__ == "__main__":
    main()

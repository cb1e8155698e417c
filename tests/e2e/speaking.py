"""What real models say, loaded by one strategy after another and asked through the batch engine:
`python -m tests.e2e.speaking`, in a process of its own, prints a line of JSON for each answer."""

import gc
import json
from typing import Final

from scripts.real_models import GEMMA_3, SMOLLM2, checkpoints, quantised
from swapbench.spec.experiment import EngineSettings
from swapbench.spec.strategy import NAMED
from swapbench.worker.engine.requests import Request
from swapbench.worker.process import leave
from swapbench.worker.reference import engine_of

# How a model goes on, in bfloat16 and in 4-bit: three times as likely as the next word, at least.
SAYINGS: Final = {
    SMOLLM2: ("The capital of France is", "Paris"),
    GEMMA_3: ("Romeo and", "Juliet"),
}
_PROMPT_TOKENS: Final = {SMOLLM2: 5, GEMMA_3: 3}  # of the beginnings
# Back again, too: into memory that a strategy has kept, and that held the other model meanwhile.
COURSE: Final = (SMOLLM2, GEMMA_3, SMOLLM2)

_SETTINGS: Final = EngineSettings(kv_budget_bytes=1 << 28)
_PATIENCE_S: Final = 120.0


def main() -> None:
    """Ask every model."""
    for strategy in NAMED:
        for name in COURSE:
            _tell(strategy, name, name)
    for name in SAYINGS:
        _tell("auto", name, quantised(name))
    leave()


def _tell(strategy: str, name: str, checkpoint: str) -> None:
    path = checkpoints()[checkpoint]
    request = Request("beginning", SAYINGS[name][0], prompt_tokens=_PROMPT_TOKENS[name], max_tokens=1)
    with engine_of(path, _SETTINGS, name=checkpoint, strategy=strategy) as engine:
        said = engine.submit(request).result(_PATIENCE_S).text.strip()
    gc.collect()  # or the next load finds the old model still there
    print(json.dumps({"strategy": strategy, "model": checkpoint, "said": said}), flush=True)


if __name__ == "__main__":
    main()

"""mlx_lm's own way, unchanged: the denominator of every comparison."""

from pathlib import Path
from typing import Any

from mlx_lm.utils import load_model

from swapbench.loaders.evaluation import evaluate
from swapbench.loaders.span import Span


def load_weights(path: Path, span: Span) -> tuple[Any, dict[str, Any]]:
    """What mlx_lm.load_model does, in its two parts: the model, evaluated, and its config.

    Spans: `build` parses the files' headers and constructs the modules (lazy load_model), `read` brings
    every weight into memory.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt or of other shapes,
            or asks for code of its own, which mlx-lm does not run unless it is told to.
    """
    with span("build"):
        model, config = load_model(path, lazy=True)
    with span("read"):
        evaluate(model)
    return model, config

"""mlx_lm's own way, unchanged: the denominator of every comparison."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.utils import load_model

from swapbench.loaders.span import Span


def refuse_code(path: Path) -> None:
    """mlx-lm would run a Python file of the checkpoint's that its config names.

    Raises:
        ValueError: the config names one.
    """
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if isinstance(config, dict) and config.get("model_file") is not None:
        raise ValueError(f"config.json names code to run ({config['model_file']!s:.80}), and none is run")


def load_weights(path: Path, span: Span) -> tuple[Any, dict[str, Any]]:
    """What mlx_lm.load_model does, in its two parts: the model, evaluated, and its config.

    Spans: `build` parses the files' headers and constructs the modules (lazy load_model), `read` brings
    every weight into memory.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt or of other shapes.
    """
    refuse_code(path)
    with span("build"):
        model, config = load_model(path, lazy=True)
    with span("read"):
        mx.eval(model.parameters())
    return model, config

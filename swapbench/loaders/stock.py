"""mlx_lm's own way, unchanged: the denominator of every comparison."""

import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_reduce
from mlx_lm.utils import load_model, load_tokenizer

from swapbench.loaders import Loaded, Span


def refuse_code(path: Path) -> None:
    """mlx-lm would run a Python file of the checkpoint's that its config names.

    Raises:
        ValueError: the config names one.
    """
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if isinstance(config, dict) and config.get("model_file") is not None:
        raise ValueError(f"config.json names code to run ({config['model_file']!s:.80}), and none is run")


def load(path: Path, span: Span) -> Loaded:
    """What mlx_lm.load does, in its three parts.

    Spans: `build` parses the files' headers and constructs the modules (lazy load_model), `read` brings
    every weight into memory, `tokenizer` parses the tokenizer.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt or of other shapes.
    """
    refuse_code(path)
    with span("build"):
        model, config = load_model(path, lazy=True)
    with span("read"):
        mx.eval(model.parameters())
    with span("tokenizer"):
        tokenizer = load_tokenizer(path, eos_token_ids=config.get("eos_token_id"))
    weight_bytes: int = tree_reduce(lambda total, array: total + array.nbytes, model.parameters(), 0)
    return Loaded(model, tokenizer, weight_bytes)

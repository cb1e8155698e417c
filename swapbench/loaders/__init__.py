"""Ways to get a checkpoint's weights and tokenizer into memory: one module each, usable on their own.

    from swapbench.loaders import load

    model, tokenizer, report = load("models/gemma-3-12b-it-4bit", strategy="auto")

For a server that swaps models all day, a `ModelLoader` keeps what a strategy keeps between them.
"""

from pathlib import Path
from typing import Any

from swapbench.base.errors import did_you_mean
from swapbench.loaders.arrays import HeldError, UnfitError
from swapbench.loaders.model_loader import Loaded, LoadReport, ModelLoader, explained
from swapbench.loaders.tokenizer import refuse_mute
from swapbench.models.validation import fault_of_tokenizer
from swapbench.spec.strategy import NAMED, Strategy

__all__ = ["HeldError", "LoadReport", "Loaded", "ModelLoader", "Strategy", "UnfitError", "load"]

_loaders: dict[Strategy, ModelLoader] = {}


def load(path: str | Path, strategy: str | Strategy = "auto") -> tuple[Any, Any, LoadReport]:
    """Load a checkpoint folder by a strategy: what mlx_lm.load gives, bit for bit, and how it came.

    Drop every reference to a model before loading the next by the same strategy: memory that a strategy keeps
    (slab, direct, reuse) is then used again. While somebody still holds arrays of the old model, the new one
    gets memory of its own, and the report says so.

    Args:
        path: a folder with config.json, model*.safetensors and tokenizer files.
        strategy: one of stock, reuse, fill, slab, direct, map, auto, or a `Strategy`.

    Returns:
        The model, mlx-lm's TokenizerWrapper, and a `LoadReport`.

    Raises:
        ValueError: no such strategy, or a checkpoint that can't be loaded: what is wrong, and what mends it.
        FileNotFoundError: there is no such folder.
        MemoryError, OSError, RuntimeError: the machine can't, as from mlx_lm.load.
    """
    if isinstance(strategy, str):
        if strategy not in NAMED:
            raise ValueError(f'no strategy "{strategy}"; {did_you_mean(strategy, NAMED)}')
        strategy = NAMED[strategy]
    if strategy not in _loaders:
        _loaders[strategy] = ModelLoader(strategy)
    loader = _loaders[strategy]
    loader.released(Path(path))
    loaded = loader.load(Path(path))
    with explained(Path(path), fault_of_tokenizer):
        refuse_mute(loaded.tokenizer)
    return loaded.model, loaded.tokenizer, loaded.report

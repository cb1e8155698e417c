"""What can be known of a checkpoint before anything is given up for it, tried out as far as that is free.

`python -m swapbench.worker.checking FOLDER` says it of one, as a line of JSON.
"""

import argparse
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import mlx.core as mx
from mlx_lm.utils import load_config, load_model

from swapbench.allowance import Share
from swapbench.experiment import Source
from swapbench.loaders.tokenizer import load_stock
from swapbench.models.checkpoint import code_wanted, damage, missing_files, missing_of_series, weight_map
from swapbench.models.remembered import remembered, state_of
from swapbench.models.soundness import Fault, UnansweredError, ask, keep_fault, written
from swapbench.models.store import MADE_SOURCES, cache_root
from swapbench.page_cache import weight_files
from swapbench.wire import Checkpoint
from swapbench.worker.engine.geometry import KVGeometry
from swapbench.worker.engine.serial import can_batch
from swapbench.worker.engine.workload import HELLO
from swapbench.worker.leaving import leave
from swapbench.worker.targets import RefusedError

_MISSING: Final = re.compile(r"Missing (\d+) parameters:\s*(.*?)(?:,|\.?\s*$)", re.DOTALL)
_UNEXPECTED: Final = re.compile(r"Received (\d+) parameters not in model:\s*(.*?)(?:,|\.?\s*$)", re.DOTALL)


@dataclass(frozen=True)
class Serving:
    """What an engine has to know of a model: what sequences cost, and whether mlx-lm can batch them."""

    geometry: KVGeometry
    batches: bool


def refuse_broken(checkpoint: Checkpoint) -> Serving:
    """How to serve a checkpoint, if it can be loaded.

    Raises:
        RefusedError: with what is wrong, where, and what to do.
    """
    try:
        found = _tried(checkpoint.path)
    except UnansweredError as error:
        raise RefusedError(f"{checkpoint.name}: {error} ({checkpoint.path}); try again") from None
    if isinstance(found, Fault):
        keep_fault(checkpoint.path, found)
        remedy = found.remedy or _remedy(checkpoint)
        raise RefusedError(f"{checkpoint.name}: {found.what} ({checkpoint.path}); {remedy}")
    return found


def refuse_too_large(checkpoint: Checkpoint, room: Share) -> None:
    """MLX's CPU build does not survive an allocation that fails, nor any build the OOM killer.

    Raises:
        RefusedError: the weights are more than there is room for.
    """
    needed = sum(file.stat().st_size for file in weight_files(checkpoint.path))
    if needed > room.bytes:
        raise RefusedError(
            f"{checkpoint.name} does not fit: {needed / 1e6:,.1f} MB of weights, and only "
            f"{room.bytes / 1e6:,.1f} MB of memory to be had{room.limited}; choose a smaller model, or one "
            f"of fewer bits{', or raise that limit' if room.by else ''}"
        )


def fault_of(path: Path) -> Fault | None:
    """What keeps mlx-lm from loading a checkpoint; None where nothing does.

    Raises:
        UnansweredError: the tokenizer could not be looked at.
    """
    found = _tried(path)
    return found if isinstance(found, Fault) else None


def _tried(path: Path) -> Fault | Serving:
    """Read the headers, have mlx-lm build the model lazily, ask it for its caches, and load the tokenizer.

    Of the weights only what a class looks at itself is read, which is nothing for all but dbrx: a 7 GB
    checkpoint takes some 60 ms, and its tokenizer, once for each state of its files, some seconds.
    """
    found = damage(path)
    if found:
        return Fault(found)
    try:
        model = load_model(path, lazy=True)[0]
        serving = Serving(KVGeometry.of(model), can_batch(model))
    except Exception as error:  # noqa: BLE001 - whatever mlx-lm's classes make of a config is the answer
        return _of_model(path, error)
    finally:
        # What was built drew from MLX's chain of random keys, lazily: unevaluated it grows for ever.
        mx.eval(mx.random.state)
    return _of_tokenizer(path) or serving


def _of_model(path: Path, error: Exception) -> Fault:
    try:
        kind = str(load_config(path)["model_type"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Fault("config.json is no model's configuration", "get it again")
    if wanted := code_wanted(path):
        return Fault(wanted, "choose a model whose architecture mlx-lm has", incomplete=False)
    said = brief(error)
    if said == f"Model type {kind} not supported.":
        return Fault(
            f'mlx-lm {version("mlx-lm")} knows no architecture "{kind:.80}"',
            "a newer mlx-lm may: `pip install -U mlx-lm`",
            incomplete=False,
        )
    missing = _MISSING.search(str(error))
    if missing:
        return Fault(_missing(path, missing[2], int(missing[1])))
    lost = missing_files(path)
    if lost and isinstance(error, KeyError):
        return Fault(_missing(path, str(error.args[0]), 1))
    if lost and isinstance(error, AttributeError | TypeError | IndexError):
        return Fault(f"{_listed(lost)} not there, and mlx-lm can't build the model without: {said}")
    unexpected = _UNEXPECTED.search(str(error))
    if unexpected:
        said = f"{_counted(int(unexpected[1]), unexpected[2])} in its files that config.json has no place for"
    return Fault(
        said, "config.json and weights have to be of one model: get both from one place", incomplete=False
    )


def _missing(path: Path, first: str, count: int) -> str:
    """Which tensors no file holds; and which file should, where that is known and the file is not there."""
    file = weight_map(path).get(first, "")
    lost = (file,) if file in missing_files(path) else missing_of_series(path)
    return f"{_counted(count, first)} in none of its files" + (
        f" ({_listed(lost)} not there)" if lost else ""
    )


def _listed(files: Sequence[str]) -> str:
    return f"{', '.join(files[:3])}{' …' if len(files) > 3 else ''} {'is' if len(files) == 1 else 'are'}"


def _counted(count: int, first: str) -> str:
    return f"{first:.120} is" if count == 1 else f"{first:.120} and {count - 1} more tensors are"


def _of_tokenizer(path: Path) -> Fault | None:
    """Asked of a process of its own, once for each state of the small files.

    What a tokenizer's parsing leaves in malloc's heap would serve the load that is measured: a process that
    had parsed one before was seen to have 3 to 88 % fewer page faults in it.
    """
    small = sorted(file for file in path.iterdir() if file.is_file() and file.suffix != ".safetensors")
    state = [version("mlx-lm"), version("transformers"), *state_of(small)]
    try:
        said = str(remembered("tokenizer", path, state, lambda: ask(path, "--tokenizer")))
    except UnansweredError as error:
        raise UnansweredError(f"its tokenizer could not be looked at: {error}") from None
    return Fault(said, "get its files and config.json again, or try another transformers") if said else None


def _tokenizer_fault(path: Path) -> str:
    try:
        if not load_stock(path, load_config(path).get("eos_token_id")).encode(HELLO):
            raise ValueError("it knows no tokens, as without its files")
    except Exception as error:  # noqa: BLE001 - whatever transformers makes of the files is the answer
        return f"the tokenizer can't be loaded by transformers {version('transformers')}: {brief(error)}"
    return ""


def brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _remedy(checkpoint: Checkpoint) -> str:
    source, folder = checkpoint.source, checkpoint.path
    if source is Source.HUB:
        return f"`swapbench models fetch {checkpoint.reference}` completes it"
    if source in MADE_SOURCES and folder.parent == cache_root() / source:
        remove = f"`swapbench models rm {folder.name} --source {source}`"
        return f"remove it by {remove}, and make it again by `swapbench models synth`"
    return "put a whole checkpoint there"


def main() -> None:
    """Say what keeps mlx-lm from loading one checkpoint."""
    parser = argparse.ArgumentParser(prog="swapbench.worker.checking")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", action="store_true", help="look at the tokenizer alone")
    asked = parser.parse_args()
    # Libraries print to stdout; the answer must be alone on it.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    answer = _tokenizer_fault(asked.folder) if asked.tokenizer else written(fault_of(asked.folder))
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        out.write(json.dumps({"answer": answer}))
    leave()


if __name__ == "__main__":
    main()

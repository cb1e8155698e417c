"""What can be known of a checkpoint before anything is given up for it, tried out as far as that is free.

`python -m swapbench.worker.checking FOLDER` says it of one, as a line of JSON.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx
from mlx_lm.utils import load_config, load_model

from swapbench.base.process import stdout_alone
from swapbench.instruments.page_cache import weight_files
from swapbench.loaders.tokenizer import load_stock, refuse_mute
from swapbench.machine.allowance import ByteLimit
from swapbench.models.cache import remembered, state_of
from swapbench.models.checkpoint import Fault, damaged
from swapbench.models.stand_ins.store import advised
from swapbench.models.validation import (
    UnansweredError,
    ask,
    fault_of_model,
    fault_of_tokenizer,
    keep_fault,
    read,
    written,
)
from swapbench.wire.plan import Checkpoint
from swapbench.worker.engine.geometry import KVGeometry, can_batch
from swapbench.worker.process import leave
from swapbench.worker.targets import RefusedError


class Serving(NamedTuple):
    """What an engine has to know of a model: what sequences cost, and whether mlx-lm can batch them."""

    geometry: KVGeometry
    batches: bool


def refuse_broken(checkpoint: Checkpoint) -> Serving:
    """How to serve a checkpoint; raises RefusedError with what is wrong, where, and what to do."""
    try:
        found = _tried(checkpoint.path)
    except UnansweredError as error:
        raise RefusedError(f"{checkpoint.name}: {error} ({checkpoint.path}); try again") from None
    if isinstance(found, Fault):
        keep_fault(checkpoint.path, found)
        found = advised(found, checkpoint.source, checkpoint.path, checkpoint.reference)
        raise RefusedError(f"{checkpoint.name}: {found.what} ({checkpoint.path}); {found.remedy}")
    return found


def refuse_too_large(checkpoint: Checkpoint, room: ByteLimit) -> None:
    """RefusedError: MLX's CPU build survives no allocation that fails, and no build the OOM killer."""
    needed = sum(file.stat().st_size for file in weight_files(checkpoint.path))
    if needed > room.bytes:
        raise RefusedError(
            f"{checkpoint.name} does not fit: {needed / 1e6:,.1f} MB of weights, and only "
            f"{room.bytes / 1e6:,.1f} MB of memory to be had{room.limited}; choose a smaller model, or one "
            f"of fewer bits{', or raise that limit' if room.by else ''}"
        )


def fault_of(path: Path) -> Fault | None:
    """What keeps mlx-lm from loading a checkpoint; raises UnansweredError where that is not known."""
    found = _tried(path)
    return found if isinstance(found, Fault) else None


def _tried(path: Path) -> Fault | Serving:
    """Read the headers, have mlx-lm build the model lazily, ask it for its caches, and load the tokenizer.

    Of the weights only what a class looks at itself is read, which is nothing for all but dbrx: a 7 GB
    checkpoint takes some 60 ms, and its tokenizer, once for each state of its files, some seconds.
    """
    if found := damaged(path):
        return found
    try:
        model = load_model(path, lazy=True)[0]
        serving = Serving(KVGeometry.of(model), can_batch(model))
    except Exception as error:  # noqa: BLE001 - whatever mlx-lm's classes make of a config is the answer
        return fault_of_model(path, error)
    finally:
        # What was built drew from MLX's chain of random keys, lazily: unevaluated it grows for ever.
        mx.eval(mx.random.state)
    return _of_tokenizer(path) or serving


def _of_tokenizer(path: Path) -> Fault | None:
    """Asked of a process of its own, once for each state of the small files.

    What a tokenizer's parsing leaves in malloc's heap would serve the load that is measured: a process that
    had parsed one before was seen to have 3 to 88 % fewer page faults in it.
    """
    small = sorted(file for file in path.iterdir() if file.is_file() and file.suffix != ".safetensors")
    state = [version("mlx-lm"), version("transformers"), *state_of(small)]
    try:
        return read(remembered("tokenizer-fault", path, state, lambda: ask(path, "--tokenizer")))
    except UnansweredError as error:
        raise UnansweredError(f"its tokenizer could not be looked at: {error}") from None


def fault_of_its_tokenizer(path: Path) -> Fault | None:
    """What keeps transformers from making a tokenizer of a checkpoint's files; None where nothing does."""
    try:
        refuse_mute(load_stock(path, load_config(path).get("eos_token_id")))
    except Exception as error:  # noqa: BLE001 - whatever transformers makes of the files is the answer
        return fault_of_tokenizer(path, error)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="swapbench.worker.checking")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", action="store_true", help="look at the tokenizer alone")
    asked = parser.parse_args()
    out = stdout_alone()
    answer = written((fault_of_its_tokenizer if asked.tokenizer else fault_of)(asked.folder))
    print(json.dumps({"answer": answer}), file=out, flush=True)
    leave()


if __name__ == "__main__":
    main()

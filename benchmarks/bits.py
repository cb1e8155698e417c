"""Whether every loader gives the bytes that mx.load gives, tensor by tensor, at full size.

python benchmarks/bits.py CHECKPOINT...
"""

import argparse
import gc
import hashlib
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from swapbench.loaders import ModelLoader
from swapbench.spec.strategy import LOADERS, NAMED


def digests_of(model: Any) -> dict[str, str]:
    """A digest of each parameter's bytes."""
    flat: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]
    return {
        name: hashlib.blake2b(np.array(array.reshape(-1).view(mx.uint8)), digest_size=16).hexdigest()
        for name, array in flat
    }


def digests(checkpoint: Path, kind: str) -> tuple[dict[str, str], str]:
    """A digest of each parameter's bytes, and what loaded them."""
    loader = ModelLoader(NAMED[kind])
    loaded = loader.load(checkpoint)
    found = digests_of(loaded.model)
    kind = loaded.report.loader
    del loaded
    gc.collect()
    loader.released()
    loader.close()
    return found, kind


def main() -> None:
    """Compare with stock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    for checkpoint in parser.parse_args().checkpoints:
        stock, _ = digests(checkpoint, "stock")
        for kind in LOADERS:
            found, did = digests(checkpoint, kind)
            differ = sum(found.get(name) != digest for name, digest in stock.items())
            print(
                f"{checkpoint.name}: {kind} (by {did}): {len(found)} tensors, {differ} different", flush=True
            )


if __name__ == "__main__":
    main()

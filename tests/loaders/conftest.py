"""Checkpoints for loaders: real minis, and folders of any layout."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from swapbench.models.locate import provide
from swapbench.spec.experiment import Source

ITEM_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "U32": 4, "U8": 1, "I8": 1, "I32": 4, "I64": 8, "BOOL": 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a made-up file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return ITEM_BYTES[self.dtype] * prod(self.shape)


def write_checkpoint(
    folder: Path, shards: Sequence[Sequence[Tensor]], spaces: int = 0, seed: int = 0
) -> Path:
    """Files of these tensors, in this order, of random bytes; `spaces` follow each header."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number, tensors in enumerate(shards, start=1):
        header, at = {}, 0
        for i, tensor in enumerate(tensors):
            end = at + tensor.nbytes
            header[f"{number}.{i}"] = {
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "data_offsets": [at, end],
            }
            at = end
        text = json.dumps(header).encode() + b" " * spaces
        data = b"".join(
            random.integers(0, 2, t.nbytes, np.uint8).tobytes()
            if t.dtype == "BOOL"
            else random.bytes(t.nbytes)
            for t in tensors
        )
        path = folder / f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return folder


@pytest.fixture(scope="session")
def minis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A real mini checkpoint of each of EXP-012's models: tied and untied, one file and several."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SWAPBENCH_CACHE", str(tmp_path_factory.mktemp("minis")))
        wanted = {
            "smollm2": "mlx-community/SmolLM2-135M-Instruct",
            "gemma": "mlx-community/gemma-3-12b-it-4bit",
            "qwen": "mlx-community/Qwen2.5-14B-Instruct-4bit",
        }
        return {name: found.path for name, found in provide(wanted, Source.MINI, lambda _: None).items()}


def bits(array: mx.array) -> bytes:
    """The bytes of an array as they are: NaNs and all, and bfloat16, which NumPy has not."""
    if array.size == 0:
        return b""
    flat = array.reshape(-1)
    return np.array(flat.view(mx.uint8) if array.dtype != mx.bool_ else flat).tobytes()


def parameters(model: object) -> dict[str, bytes]:
    flat: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment, attr-defined]
    return {name: bits(array) for name, array in flat}

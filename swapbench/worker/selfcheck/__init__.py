"""What claims are tried with: a large file, a model of a few hundred MB, a mini one aligned and not."""

import shutil
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from mlx.utils import tree_flatten

from swapbench.compat import mlx_identity
from swapbench.loaders import ModelLoader
from swapbench.machine.selfcheck import Found, Prepared
from swapbench.models.catalogue import lookup
from swapbench.models.checkpoint import WEIGHTS
from swapbench.models.stand_ins import synthesize
from swapbench.models.stand_ins.order import of_entry
from swapbench.spec.experiment import Source
from swapbench.spec.strategy import LOADERS, NAMED
from swapbench.worker.roofline import size_that_fits, write_incompressible

MODEL: Final = "model"
MINI: Final = "mini"
UNALIGNED: Final = "unaligned"

# Of the loaders that are tried: auto picks one of them.
KINDS: Final = tuple(kind for kind in LOADERS if kind != "auto")

# Frequencies of its own, which are no parameters, and which MLX computes where it is built.
_SCALED_ROPE: Final = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 2048,
}


def prepare(folder: Path) -> Prepared:
    """Write everything into `folder`."""
    entry = lookup("smollm2-135m")
    assert entry is not None
    mini = of_entry(entry, Source.MINI)
    mini = mini.model_copy(update={"config": {**mini.config, "rope_scaling": _SCALED_ROPE}})
    for name, order in ((MODEL, of_entry(entry, Source.SYNTHETIC)), (MINI, mini)):
        (folder / name).mkdir()
        synthesize.make(order, folder / name, lambda *_: None)
    shutil.copytree(folder / MINI, folder / UNALIGNED)
    for shard in (folder / UNALIGNED).glob(WEIGHTS):
        # The data begin at an odd byte: headers may end in spaces.
        data = shard.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + length].rstrip()
        header += b" " * (1 + len(header) % 2)
        shard.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    versions, device = mlx_identity()
    return Prepared(versions=versions, device=device)


def large_file(folder: Path) -> Path:
    """A file that no disk can compress, written by who wants it first."""
    path = folder / "file"
    if not path.exists():
        size = size_that_fits(folder)
        with path.open("wb", buffering=0) as file:
            write_incompressible(file.fileno(), size)
    return path


def loader(kind: str) -> ModelLoader:
    """As the known strategy of that name loads."""
    return ModelLoader(NAMED[kind])


def weights_of(model: Any) -> dict[str, mx.array]:
    """Every parameter, by name."""
    return dict(tree_flatten(model.parameters()))


def first_token(model: Any) -> mx.array:
    """The numbers that a prompt of three tokens is answered by, computed: every weight is used."""
    numbers = model(mx.array([[1, 2, 3]]))[:, -1]
    assert isinstance(numbers, mx.array)
    mx.eval(numbers)
    return numbers


def judged(holds: bool, finding: str) -> Found:
    """Right where it holds, wrong where not."""
    return Found(result="right" if holds else "wrong", finding=finding)


def not_here(why: str) -> Found:
    """A claim about something that this platform does not have."""
    return Found(result="not here", finding=why)


def mib(size: float | None) -> str:
    """As findings have it."""
    return "unknown" if size is None else f"{size / 2**20:.0f} MiB"

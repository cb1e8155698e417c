"""Loaders, engine and shares under the oldest and the newest libraries that pyproject.toml allows."""

import os
import subprocess
from pathlib import Path

import pytest

from swapbench.spec.strategy import LOADERS
from tests.environments import NEWEST, OLDEST, Versions, built, thin

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("versions", [OLDEST, NEWEST], ids=str)]

# As whoever installs nothing but the wheel, and that without what it asks for.
LOAD = """
import sys
from importlib.metadata import version
sys.modules["psutil"] = None
import mlx.core as mx
from mlx.utils import tree_flatten
from swapbench.compat.mlx_lm import PARTS, unasked
from swapbench.loaders import load
from swapbench.spec.strategy import LOADERS
print(version("mlx"), version("mlx-lm"), version("transformers"))
print(*filter(None, map(unasked, PARTS)))
for path in sys.argv[1:]:
    weights = {}
    for name in LOADERS:
        model, tokenizer, report = load(path, name)
        weights = weights or dict(tree_flatten(model.parameters()))
        ours = dict(tree_flatten(model.parameters()))
        same = ours.keys() == weights.keys() and all(mx.array_equal(ours[key], weights[key]) for key in ours)
        print(name, report.loader, same, "tokenizer" in report.why, tokenizer.encode("one two") != [])
        del model, tokenizer, ours
"""

# An engine's answers in a batch, a cache that is copied and goes on, and a share of one rank.
SERVE = """
import sys
from contextlib import nullcontext
from pathlib import Path
import mlx.core as mx
from swapbench.compat.mlx_lm import load_share
from swapbench.spec.experiment import CacheFill, EngineSettings, Verify
from swapbench.worker.engine.batch import ask
from swapbench.worker.engine.caches import continuation, fill_cache
from swapbench.worker.process import leave
from swapbench.worker.reference import engine_of
for path in map(Path, sys.argv[1:]):
    verify = Verify(prompt_tokens=(8, 16), tokens=4)
    spans = []
    group, span = mx.distributed.init(), lambda name: spans.append(name) or nullcontext()
    model, tokenizer = load_share(path, "tensor", group, span)
    print(spans == ["look", "tokenizer", "build", "read", "barrier"])
    for how in CacheFill:
        cache = fill_cache(model, tokenizer, 40, how, 1)
        print(continuation(model, cache, 3) == continuation(model, cache, 3))
    with engine_of(path, EngineSettings(), name="mini") as engine:
        print([len(reply.tokens) for reply in ask(engine, verify)])
leave()
"""


def said(versions: Versions, folder: Path, script: str, *paths: Path) -> list[str]:
    python = thin(folder, built(versions))
    done = subprocess.run(
        [python, "-c", script, *paths],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_every_loader_loads_what_stock_does(
    versions: Versions, minis: dict[str, Path], tmp_path: Path
) -> None:
    found, unasked, *lines = said(versions, tmp_path / "theirs", LOAD, minis["smollm2"], minis["gemma"])
    assert found.split() == [versions.mlx, versions.mlx_lm, versions.transformers]
    assert unasked == ""
    assert len(lines) == 2 * len(LOADERS)
    for line in lines:
        name, loader, *facts = line.split()
        assert loader == name or name == "auto"
        assert facts == ["True", "False", "True"]


@pytest.mark.slow
def test_what_is_loaded_is_served(versions: Versions, minis: dict[str, Path], tmp_path: Path) -> None:
    lines = said(versions, tmp_path / "theirs", SERVE, minis["qwen"])
    assert lines == ["True", "True", "True", "[4, 4]"]

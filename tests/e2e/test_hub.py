"""EXP-012's own models as the hub has them: fetched from a stand-in for it, listed, swapped, repacked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import mlx_lm
import pytest

from swapbench.store import read, resolve
from tests.frames import frame
from tests.models.published import GEMMA_3, QWEN2_5, SMOLLM2, published
from tests.models.stand_in_hub import StandInHub, serving

pytestmark = pytest.mark.e2e

Swapbench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def fetched(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HF_HOME, when `models fetch exp012` has filled it; the hub is gone by then."""
    work, home = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("home")
    minis = {
        path.name.removesuffix("-text"): path for path in (model_cache / "mini").iterdir() if path.is_dir()
    }
    hubs = [StandInHub(repo, files) for repo, files in published(minis, work).items()]
    with serving(*hubs) as endpoint:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "SWAPBENCH_CACHE": str(home / "swapbench"),
        }
        command = [sys.executable, "-m", "swapbench", "models", "fetch", "exp012"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture
def swapbench(fetched: Path, environment: dict[str, str], tmp_path: Path) -> Swapbench:
    """Runs it with these models, in an empty folder."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "swapbench", *arguments],
            cwd=tmp_path,
            env=environment | {"HF_HOME": str(fetched)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _snapshot(home: Path, repo: str) -> Path:
    (snapshot,) = (home / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots").iterdir()
    return snapshot


@pytest.mark.slow
def test_exp012_swaps_the_models_as_the_hub_has_them(swapbench: Swapbench, tmp_path: Path) -> None:
    once = ("--models", "hub", "--rounds", "1", "--warmup", "0")
    # One that has tokenizers as mlx-lm does, and one that parses them itself.
    done = swapbench("run", "exp012", *once, "--strategy", "stock", "--strategy", "slab")
    assert done.returncode == 0, done.stdout + done.stderr
    run = read(resolve(tmp_path / "results", None))
    assert set(frame(run.swaps).scenario) == {"small-to-large", "large-to-large", "large-to-small"}
    assert list(frame(run.swaps).status) == ["ok"] * 6
    assert frame(run.swaps).valid.all()
    assert (frame(run.swaps).verified_tokens > 0).all()


@pytest.mark.slow
def test_they_are_listed_and_shown_as_there(swapbench: Swapbench, fetched: Path) -> None:
    listed = swapbench("models", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    for repo in (SMOLLM2, GEMMA_3, QWEN2_5):
        assert str(_snapshot(fetched, repo)) in listed.stdout
    shown = swapbench("show", "exp012", "--models", "hub")
    assert shown.returncode == 0, shown.stderr
    assert "models fetch" not in shown.stdout


@pytest.mark.slow
def test_a_copy_of_a_checkpoint_with_a_stale_index_loads(
    swapbench: Swapbench, fetched: Path, tmp_path: Path
) -> None:
    done = swapbench("models", "repack", "gemma-3-12b", "--source", "hub", "--out", "aligned")
    assert done.returncode == 0, done.stderr
    original, copy = _snapshot(fetched, GEMMA_3), tmp_path / "aligned"
    assert {path.name for path in copy.iterdir()} == {path.name for path in original.iterdir()}
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    assert "model-00005-of-00005.safetensors" in index["weight_map"].values()
    tokens = mx.array([[2, 100, 200]])
    logits = [mlx_lm.load(str(folder))[0](tokens) for folder in (original, copy)]
    assert mx.array_equal(*logits)

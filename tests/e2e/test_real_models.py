"""Swaps of trained models, and what they say: random weights only show that two processes say the same."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from filelock import FileLock

from scripts.real_models import GEMMA_3, SMOLLM2, checkpoints, quantised
from swapbench.spec.strategy import NAMED
from swapbench.store import read, resolve
from swapbench.worker.targets.http.process import free_port
from tests.e2e.conftest import Cli
from tests.e2e.speaking import COURSE, SAYINGS
from tests.frames import frame
from tests.repository import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

if not all(path.is_dir() for path in checkpoints().values()):
    pytest.skip("no real models; `make real-models` makes them", allow_module_level=True)

# Few tokens: MLX's CPU build computes some ten a second of these models.
EXPERIMENT: Final = """
source = "hub"
rounds = 1
warmup = 0
steady_tokens = 0

[models]
smollm2 = "{smollm2}"
gemma-3 = "{gemma_3}"

[[scenario]]
name = "away"
from = "gemma-3"
to = "smollm2"

[[scenario]]
name = "back"
from = "smollm2"
to = "gemma-3"

[workload]
requests = 1
prompt_tokens = 4
decode_tokens = 12
agents = 1
cache_tokens = 8

[verify]
tokens = 2
prompt_tokens = [4]
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Swaps between both models, away and back, of a busy engine."""
    models = checkpoints()
    path = tmp_path / "real.toml"
    path.write_text(EXPERIMENT.format(smollm2=models[SMOLLM2], gemma_3=models[GEMMA_3]))
    return path


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> list[dict[str, str]]:
    """What every model said under every strategy; asked once for all of pytest-xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    kept = (base if worker_id == "master" else base.parent) / "said.jsonl"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            command = [sys.executable, "-m", "tests.e2e.speaking"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            kept.write_text(done.stdout)
    return [json.loads(line) for line in kept.read_text().splitlines()]


@pytest.mark.parametrize("strategy", NAMED)
def test_models_say_what_is_right_under_every_strategy(said: list[dict[str, str]], strategy: str) -> None:
    answers = [(one["model"], one["said"]) for one in said if one["strategy"] == strategy]
    assert answers[: len(COURSE)] == [(name, SAYINGS[name][1]) for name in COURSE]


@pytest.mark.parametrize("name", SAYINGS)
def test_quantised_models_say_what_is_right(said: list[dict[str, str]], name: str) -> None:
    assert [one["said"] for one in said if one["model"] == quantised(name)] == [SAYINGS[name][1]]


def test_a_busy_engine_swaps_real_models_and_restores_their_caches(
    cli: Cli, experiment: Path, tmp_path: Path
) -> None:
    done = cli("run", str(experiment))
    assert done.returncode == 0, done.stdout + done.stderr
    swaps = frame(read(resolve(tmp_path / "results", None)).swaps)
    assert list(swaps.status) == ["ok"] * 2
    assert (swaps.verified_tokens == 2).all()
    assert (swaps.answered_requests == 1).all()
    # On a busy machine it may have its answer before the drain begins.
    assert (swaps.drained_requests + swaps.carried_requests <= 1).all()
    assert (swaps.evicted_caches == 1).all()
    # That a cache goes on as it did before it was evicted is part of a swap's status.
    assert list(swaps.restored_caches) == [0, 1]
    assert list(swaps.restored_tokens) == [0, 8]


def test_mlx_lm_server_says_what_is_right_after_swaps(cli: Cli, experiment: Path, tmp_path: Path) -> None:
    models = {name: str(path) for name, path in checkpoints().items()}
    with _mlx_lm_server(tmp_path) as url:
        done = cli("run", str(experiment), "--target", f"mlx_lm@{url}")
        assert done.returncode == 0, done.stdout + done.stderr
        gemma_3 = _asked(url, "completions", model=models[GEMMA_3], prompt=SAYINGS[GEMMA_3][0], max_tokens=1)
        question = {"role": "user", "content": "What is the capital of France?"}
        smollm2 = _asked(url, "chat/completions", model=models[SMOLLM2], messages=[question], max_tokens=8)
    swaps = frame(read(resolve(tmp_path / "results", None)).swaps)
    assert list(swaps.status) == ["ok"] * 2
    # Of a server by its URL, what a model said first is what it is held against.
    assert swaps.verified_tokens.iloc[-1] > 0
    assert gemma_3["text"].strip() == SAYINGS[GEMMA_3][1]
    # Seven tokens and the one that ends the answer: the template and the end are the model's own.
    assert smollm2["message"]["content"] == "The capital of France is Paris."
    assert smollm2["finish_reason"] == "stop"


@contextmanager
def _mlx_lm_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlx_lm", "server", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _listens(url):
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


def _listens(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=60):
            return True
    except OSError:
        return False


def _asked(url: str, path: str, **body: Any) -> Any:
    """The server's one choice."""
    request = urllib.request.Request(
        f"{url}/v1/{path}",
        json.dumps(body | {"temperature": 0.0}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        (choice,) = json.load(answer)["choices"]
    return choice

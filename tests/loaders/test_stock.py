"""A loaded model can be used on any thread, whatever its class has made for itself."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from swapbench.loaders import ModelLoader, load
from swapbench.loaders.stock import arrays_of, evaluate
from tests.loaders.conftest import bits
from tests.loaders.test_load import PROMPT, STRATEGIES

# As Llama 3.1, gpt-oss and DeepSeek, and Phi-3.5 have them.
SCALINGS: dict[str, dict[str, Any]] = {
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "yarn": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0},
    "longrope": {
        "rope_type": "longrope",
        "original_max_position_embeddings": 4096,
        "factor": 32.0,
        "long_factor": [1.5] * 16,
        "short_factor": [1.0] * 16,
    },
}


def scaled(mini: Path, folder: Path, scaling: str) -> Path:
    """A copy of a Llama whose positions are scaled."""
    shutil.copytree(mini, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_scaling": SCALINGS[scaling]}))
    return folder


def on_another_thread(model: Any) -> bytes:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: bits(model(PROMPT))).result()


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_frequencies_of_scaled_positions_are_there_on_every_thread(
    name: str, scaling: str, minis: dict[str, Path], tmp_path: Path
) -> None:
    folder = scaled(minis["smollm2"], tmp_path / scaling, scaling)
    loader = ModelLoader(STRATEGIES[name])
    loaded = loader.load(folder)
    said = on_another_thread(loaded.model)
    assert said == bits(loaded.model(PROMPT))
    assert said != bits(load(minis["smollm2"], "stock")[0](PROMPT))
    loader.close()


class _Tables:
    """No module, and so nothing that MLX itself would look into."""

    def __init__(self) -> None:
        self.table = mx.arange(4.0) * 2


class _Hiding(nn.Module):  # type: ignore[name-defined, misc]
    def __init__(self) -> None:
        super().__init__()
        ramp = mx.arange(4.0) + 1
        self._own = mx.arange(4.0) * 3
        self.tables = _Tables()
        self.listed = [{"deep": mx.arange(4.0) - 1}]
        self.closed: Any = lambda: ramp
        self.partial = partial(mx.add, mx.arange(4.0) * 5)
        self.itself = self.__call__

    def __call__(self, tokens: mx.array) -> mx.array:
        hidden = self._own + self.tables.table + self.listed[0]["deep"] + self.closed()
        return self.partial(hidden) + tokens


def test_arrays_are_found_wherever_a_class_keeps_them() -> None:
    model: Any = _Hiding()
    assert len(list(arrays_of(model))) == 5
    evaluate(model)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: model(mx.zeros(4)).tolist()).result() == [0, 12, 24, 36]

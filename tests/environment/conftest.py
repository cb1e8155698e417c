"""What there is to report of, and minis that are made once, for whatever environment."""

from pathlib import Path

import pytest

from tests.cli.invoking import swapbench
from tests.e2e.conftest import model_cache
from tests.scripted import raw_experiment, toml

__all__ = ["model_cache"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an experiment of three rounds, and a run of another that missed its target."""
    folder = tmp_path_factory.mktemp("measured")
    slow = raw_experiment()["script"] | {"seconds": {"load": 100.0}}
    (folder / "slow.toml").write_text(toml(raw_experiment(script=slow)))
    (folder / "scripted.toml").write_text(toml())
    assert swapbench(folder, "run", "slow.toml", "--rounds", "1").returncode == 4
    return folder

"""A cache of its own for each test, and minis that are made once."""

from pathlib import Path

import pytest

from swapbench.models.catalogue import CATALOGUE
from swapbench.models.stand_ins import order
from swapbench.models.stand_ins.store import make
from swapbench.spec.experiment import Source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that swapbench takes for its cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SWAPBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def minis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every catalogue model's mini, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPBENCH_CACHE", str(tmp_path_factory.mktemp("minis")))
        return {e.name: make(order.of_entry(e, Source.MINI), lambda *_: None) for e in CATALOGUE}

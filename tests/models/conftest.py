"""A cache of its own for each test, and minis that are made once."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.models.catalogue import lookup
from swapbench.models.stand_ins import order, store, synthesize
from swapbench.spec.experiment import Source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that swapbench takes for its cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SWAPBENCH_CACHE", str(folder))
    return folder


class Minis(dict[str, Path]):
    """Catalogue models' minis by name, each made in this process when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Path:
        entry = lookup(name)
        assert entry is not None
        wanted = order.of_entry(entry, Source.MINI)
        folder = self._root / "mini" / wanted.name
        folder.mkdir(parents=True)
        synthesize.make(wanted, folder, lambda *_: None)
        store.write_manifest(folder, wanted)
        self[name] = folder
        return folder


@pytest.fixture(scope="session")
def minis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every catalogue model's mini, by name."""
    return Minis(tmp_path_factory.mktemp("minis"))


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has mlx-lm asked about checkpoints in this process: another takes seconds to import it.

    That another is asked, and how it may fail, is shown by the tests that go without.
    """
    from swapbench.models import validation
    from swapbench.worker import checking

    def ask(path: Path, *options: str) -> Any:
        look = checking.fault_of_its_tokenizer if "--tokenizer" in options else checking.fault_of
        return validation.written(look(path))

    monkeypatch.setattr(validation, "ask", ask)
    monkeypatch.setattr(checking, "ask", ask)

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.base.errors import ModelError
from swapbench.models import order, store, synthesize
from swapbench.models.catalogue import CATALOGUE, Entry
from swapbench.models.making import make
from swapbench.models.order import Order, Progress
from swapbench.spec.experiment import Source
from tests.programs import FALSE

SMOLLM2 = CATALOGUE[0]
MINI = order.of_entry(SMOLLM2, Source.MINI)


def silent(_: Progress) -> None:
    """Listens and says nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_has_everything_and_progress_adds_up(cache: Path) -> None:
    heard: list[Progress] = []
    folder = make(MINI, heard.append)
    assert sorted(contents(folder)) == [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "swapbench.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert [heard[0].event, heard[-1].event] == ["planned", "done"]
    assert heard[-1].done_bytes == heard[0].total_bytes == (folder / "model.safetensors").stat().st_size
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_equal_orders_give_equal_bytes(
    entry: Entry, minis: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path))
    again = make(order.of_entry(entry, Source.MINI), silent)
    assert contents(again) == contents(minis[entry.name])


def test_what_is_there_is_not_made_again(cache: Path) -> None:
    first = make(MINI, silent)
    heard: list[Progress] = []
    assert make(MINI, heard.append) == first
    assert heard == []


def test_what_another_recipe_made_is_made_again(cache: Path) -> None:
    folder = make(MINI, silent)
    (folder / "swapbench.json").write_text('{"recipe_version": 0}')
    (folder / "config.json").write_text("{}")
    make(MINI, silent)
    assert store.state(folder, MINI) == ""
    assert (folder / "config.json").read_text() != "{}"


def test_a_refusal_leaves_nothing_behind(cache: Path) -> None:
    bad = Order.model_validate(MINI.model_dump() | {"config": {**MINI.config, "model_type": "lama"}})
    with pytest.raises(ModelError, match='did you mean "llama"'):
        make(bad, silent)
    assert not [path for path in (cache / "mini").iterdir() if path.is_dir()]


def test_an_interruption_leaves_nothing_under_the_name(cache: Path) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(MINI, interrupt)
    assert store.made(Source.MINI) == []
    assert not [path for path in (cache / "mini").iterdir() if path.is_dir()]
    make(MINI, silent)
    assert store.made(Source.MINI) == [MINI.name]


def test_a_maker_that_is_killed_leaves_nothing_that_the_next_one_trips_over(cache: Path) -> None:
    script = (
        "import os, signal\n"
        "from swapbench.spec.experiment import Source\n"
        "from swapbench.models import order\n"
        "from swapbench.models.catalogue import CATALOGUE\n"
        "from swapbench.models.making import make\n"
        "make(order.of_entry(CATALOGUE[0], Source.MINI), lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ.copy(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.made(Source.MINI) == []
    folder = store.folder_of(MINI.name, Source.MINI)
    with folder.with_name(f".{MINI.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the child has it as long as it lives
        assert not store.part_of(folder).exists()
    make(MINI, silent)
    assert store.state(folder, MINI) == ""


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**9))
    wanted = order.of_entry(CATALOGUE[-1], Source.SYNTHETIC)
    with pytest.raises(ModelError, match=r"qwen2.5-14b takes 8\.31 GB and .* has 1\.00 GB free; make room"):
        synthesize.make(wanted, tmp_path, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_can_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SWAPBENCH_CACHE", str(blocked))
    with pytest.raises(ModelError, match="set SWAPBENCH_CACHE to a folder that can be written"):
        make(MINI, silent)


def test_a_child_that_dies_is_explained(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", FALSE)
    with pytest.raises(ModelError, match=r"the child that makes it died \(exit code 1\)"):
        make(MINI, silent)

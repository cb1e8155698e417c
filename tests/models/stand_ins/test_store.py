"""Checkpoints that swapbench makes: found again, replaced, removed, and made by a child."""

import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from swapbench.base.errors import ModelError
from swapbench.models.cache import cache_root
from swapbench.models.catalogue import CATALOGUE, Entry
from swapbench.models.stand_ins import order, store, synthesize
from swapbench.models.stand_ins.order import Order
from swapbench.models.stand_ins.store import make
from swapbench.spec.experiment import Source
from tests.programs import FALSE

ORDER = order.of_entry(CATALOGUE[0], Source.MINI)


def placed(name: str, source: Source = Source.MINI) -> Path:
    """A folder that has the form of a finished checkpoint."""
    folder = store.folder_of(name, source)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    store.write_manifest(folder, ORDER)
    return folder


def test_the_cache_can_be_put_elsewhere(cache: Path) -> None:
    assert store.folder_of("smollm2-135m", Source.SYNTHETIC) == cache / "synthetic" / "smollm2-135m"


def test_without_a_choice_it_is_the_platforms_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWAPBENCH_CACHE", raising=False)
    assert cache_root().name == "swapbench"


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/etc", ".hidden", "", "a\nb", "~", "x" * 65, "a b"])
def test_no_name_leads_out_of_the_cache(cache: Path, name: str) -> None:
    with pytest.raises(ModelError, match="can't name a model"):
        store.folder_of(name, Source.MINI)


def test_a_checkpoint_is_current_stale_or_missing(cache: Path) -> None:
    folder = store.folder_of(ORDER.name, Source.MINI)
    assert store.state(folder, ORDER) == "missing"
    placed(ORDER.name)
    assert store.state(folder, ORDER) == ""
    assert store.state(folder, order.of_entry(CATALOGUE[1], Source.MINI)) == "stale"


def test_an_older_recipe_is_stale_even_where_the_order_is_not_known(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = placed("mine")
    assert store.state(folder, None) == ""
    monkeypatch.setattr(store, "RECIPE_VERSION", 999)
    assert store.state(folder, None) == "stale"


def test_a_damaged_manifest_is_no_manifest(cache: Path) -> None:
    folder = placed("mine")
    (folder / "swapbench.json").write_text("{")
    assert store.state(folder, None) == "missing"


@pytest.mark.parametrize("source", store.MADE_SOURCES)
def test_a_checkpoint_says_what_it_was_made_as_wherever_it_lies(cache: Path, source: Source) -> None:
    folder = store.folder_of("mine", source)
    folder.mkdir(parents=True)
    store.write_manifest(folder, order.of_entry(CATALOGUE[0], source))
    assert store.made_as(folder.rename(cache / "elsewhere")) is source


def test_a_folder_without_a_manifest_is_none_of_swapbenchs(tmp_path: Path) -> None:
    assert store.made_as(tmp_path) is None


def test_only_finished_checkpoints_are_listed(cache: Path) -> None:
    placed("b")
    placed("a")
    (store.part_of(store.folder_of("c", Source.MINI))).mkdir()
    store.folder_of("d", Source.MINI).mkdir()
    assert store.made(Source.MINI) == ["a", "b"]
    assert store.made(Source.SYNTHETIC) == []


def test_removing_frees_what_it_took_and_leaves_the_others(cache: Path) -> None:
    placed("a")
    placed("b")
    assert store.remove("a", Source.MINI) > 1000
    assert store.made(Source.MINI) == ["b"]


def test_removing_what_is_not_there_names_what_is(cache: Path) -> None:
    placed("smollm2-135m")
    with pytest.raises(ModelError, match='did you mean "smollm2-135m"'):
        store.remove("smollm2", Source.MINI)


def test_a_link_in_the_cache_is_never_followed(cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "swapbench.json").write_text("{}")
    (cache / "mini").mkdir(parents=True)
    (cache / "mini" / "link").symlink_to(outside)
    with pytest.raises(ModelError):
        store.remove("link", Source.MINI)
    store.discard(cache / "mini" / "link")
    assert (outside / "swapbench.json").exists()


def test_what_an_interrupted_making_left_is_cleared_away(cache: Path) -> None:
    folder = store.folder_of("a", Source.MINI)
    part = store.part_of(folder)
    part.mkdir(parents=True)
    (part / "model.safetensors").write_bytes(b"half")
    with store.locked(folder):
        assert not part.exists()


def _hold(folder: Path, held: Event, release: Event) -> None:
    with store.locked(folder):
        held.set()
        release.wait()


def test_two_makers_of_one_checkpoint_wait_for_each_other(cache: Path) -> None:
    folder = store.folder_of("a", Source.MINI)
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(folder, held, release))
    other.start()
    held.wait()
    part = store.part_of(folder)
    part.mkdir()
    release.set()
    with store.locked(folder):  # only after the other let go, so that nobody's work is cleared away
        assert not part.exists()
    other.join()
    assert other.exitcode == 0


def test_a_finished_checkpoint_takes_the_place_of_the_old_one(cache: Path) -> None:
    folder = placed("a")
    with store.locked(folder):
        part = store.part_of(folder)
        part.mkdir()
        (part / "new").write_text("")
        store.put(part, folder)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert not part.exists()


SMOLLM2 = CATALOGUE[0]
MINI = order.of_entry(SMOLLM2, Source.MINI)


def silent(_: int, __: int) -> None:
    """Listens and says nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_has_everything_and_progress_adds_up(cache: Path) -> None:
    heard: list[tuple[int, int]] = []
    folder = make(MINI, lambda *progress: heard.append(progress))
    assert sorted(contents(folder)) == [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "swapbench.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    size_bytes = (folder / "model.safetensors").stat().st_size
    assert [heard[0], heard[-1]] == [(0, size_bytes), (size_bytes, size_bytes)]
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
    assert make(MINI, lambda *_: pytest.fail("it was made again")) == first


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
    def interrupt(_: int, __: int) -> None:
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
        "from swapbench.models.stand_ins import order\n"
        "from swapbench.models.catalogue import CATALOGUE\n"
        "from swapbench.models.stand_ins.store import make\n"
        "make(order.of_entry(CATALOGUE[0], Source.MINI), lambda *_: os.kill(os.getpid(), signal.SIGKILL))\n"
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

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from swapbench.base.errors import ModelError
from swapbench.models import order, store
from swapbench.models.catalogue import CATALOGUE
from swapbench.spec.experiment import Source

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
    assert store.cache_root().name == "swapbench"


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

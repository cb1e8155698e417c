import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import ModelError
from swapbench.models.locate import locate, provide
from swapbench.models.repack import repack
from swapbench.models.stand_ins import order, store
from swapbench.spec.experiment import Source
from tests.models.stand_ins.test_order import LLAMA

REPO = "mlx-community/gemma-3-12b-it-4bit"


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def foreign(checkpoint: Path, folder: Path) -> Path:
    """A copy without swapbench's mark, as somebody else's checkpoint is."""
    return Path(shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("swapbench.json")))


def cached(hub: Path, repo: str, checkpoint: Path, *, of_swapbench: bool = False) -> Path:
    """Puts a checkpoint into a Hugging Face cache, as its library lays it out."""
    storage = hub / f"models--{repo.replace('/', '--')}"
    snapshot = storage / "snapshots" / ("a" * 40)
    (shutil.copytree if of_swapbench else foreign)(checkpoint, snapshot)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text("a" * 40)
    return snapshot


def said(call: Any, *arguments: Any) -> str:
    with pytest.raises(ModelError) as refusal:
        call(*arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_minis_are_made_on_first_use_and_said_to_be(cache: Path) -> None:
    before = locate("small", "smollm2-135m", Source.MINI)
    assert (before.path, before.hint) == (None, "made on first use, in seconds")
    progress: list[str] = []
    checkpoints = provide({"small": "smollm2-135m"}, Source.MINI, progress.append)
    assert progress == ["making the mini model smollm2-135m"]
    checkpoint = checkpoints["small"]
    assert (checkpoint.name, checkpoint.reference, checkpoint.source) == (
        "small",
        "smollm2-135m",
        Source.MINI,
    )
    assert checkpoint.weight_bytes == before.weight_bytes
    after = locate("small", "smollm2-135m", Source.MINI)
    assert (after.path, after.hint) == (checkpoint.path, "")


def test_big_synthetic_models_are_never_made_by_surprise(cache: Path) -> None:
    models = {"big": REPO, "bigger": "qwen2.5-14b"}
    assert said(provide, models, Source.SYNTHETIC, print) == (
        "not made yet, or made by another version of swapbench: big (7.19 GB), bigger (8.31 GB); "
        "run `swapbench models synth gemma-3-12b qwen2.5-14b`"
    )
    assert not cache.exists()


def test_models_missing_from_the_hubs_cache_are_named_with_size_and_command(empty_hub: Path) -> None:
    assert said(provide, {"big": REPO, "other": "org/name"}, Source.HUB, print) == (
        "not in the Hugging Face cache: big (8.07 GB), other; "
        "run `swapbench models fetch gemma-3-12b org/name`"
    )
    assert locate("big", REPO, Source.HUB).hint == (
        "not in the Hugging Face cache; `swapbench models fetch gemma-3-12b`"
    )


def test_a_complete_snapshot_is_used(empty_hub: Path, minis: dict[str, Path]) -> None:
    snapshot = cached(empty_hub, REPO, minis["gemma-3-12b"])
    found = locate("big", "gemma-3-12b", Source.HUB)
    assert (found.path, found.hint, found.source) == (snapshot, "", Source.HUB)
    assert found.weight_bytes == (snapshot / "model.safetensors").stat().st_size


def test_an_incomplete_snapshot_is_not_used_and_says_what_it_lacks(
    empty_hub: Path, minis: dict[str, Path]
) -> None:
    snapshot = cached(empty_hub, REPO, minis["gemma-3-12b"])
    (snapshot / "model.safetensors").write_bytes(b"cut short")
    found = locate("big", REPO, Source.HUB)
    assert found.path is None
    assert "model.safetensors is cut short" in found.hint


@pytest.mark.parametrize("source", store.MADE_SOURCES)
def test_an_unknown_model_is_answered_with_the_nearest_known(cache: Path, source: Source) -> None:
    assert 'did you mean "gemma-3-12b"?' in said(locate, "big", "gema-3-12b", source)


@pytest.mark.parametrize("reference", ["org/name", "a b", "x/../../y"])
@pytest.mark.parametrize("source", store.MADE_SOURCES)
def test_a_repository_of_which_nothing_is_known_has_no_stand_in(
    cache: Path, source: Source, reference: str
) -> None:
    assert f'no model "{reference}" for source {source}' in said(locate, "other", reference, source)


@pytest.mark.parametrize("reference", ["gemma", "org/../x", "a/b/c", "org/", ""])
def test_what_is_no_repository_is_refused_on_the_hub(reference: str) -> None:
    assert "names no Hugging Face repository" in said(locate, "big", reference, Source.HUB)


def by_path(mini: Path, place: Path) -> str:
    return str(mini)


def by_a_link(mini: Path, place: Path) -> str:
    (place / "link").symlink_to(mini)
    return str(place / "link")


def moved_elsewhere(mini: Path, place: Path) -> str:
    return str(shutil.copytree(mini, place / "SmolLM2-135M-Instruct"))


def of_linked_files(mini: Path, place: Path) -> str:
    """As the hub's cache has them, given by its path."""
    for file in mini.iterdir():
        (place / file.name).symlink_to(file)
    return str(place)


def repacked(mini: Path, place: Path) -> str:
    repack(mini, place / "to", 16384, lambda done, total: None)
    return str(place / "to")


@pytest.mark.usefixtures("asked_here")
@pytest.mark.parametrize(
    ("way", "source"),
    [
        *((by_path, source) for source in Source),
        *((way, Source.HUB) for way in (by_a_link, moved_elsewhere, of_linked_files, repacked)),
    ],
)
def test_a_mini_is_a_mini_however_its_folder_is_named_and_whatever_the_source(
    minis: dict[str, Path], tmp_path: Path, way: Callable[[Path, Path], str], source: Source
) -> None:
    reference = way(minis["smollm2-135m"], tmp_path)
    checkpoint = provide({"mine": reference}, source, print)["mine"]
    assert (checkpoint.path, checkpoint.source) == (Path(reference), Source.MINI)


def test_a_mini_in_the_hubs_cache_is_a_mini(empty_hub: Path, minis: dict[str, Path]) -> None:
    snapshot = cached(empty_hub, REPO, minis["gemma-3-12b"], of_swapbench=True)
    found = locate("big", REPO, Source.HUB)
    assert (found.path, found.source) == (snapshot, Source.MINI)


@pytest.mark.usefixtures("asked_here")
def test_a_mini_in_the_place_of_a_synthetic_one_is_a_mini(cache: Path, minis: dict[str, Path]) -> None:
    folder = store.folder_of("moved", Source.SYNTHETIC)
    shutil.copytree(minis["smollm2-135m"], folder)
    copied = json.loads((folder / "swapbench.json").read_text())
    wanted = order.of_config_file("moved", Source.SYNTHETIC, folder / "config.json")
    (folder / "swapbench.json").write_text(json.dumps(copied | {"order_sha256": wanted.digest()}))
    assert provide({"m": "moved"}, Source.SYNTHETIC, print)["m"].source is Source.MINI


@pytest.mark.usefixtures("asked_here")
def test_anybody_elses_folder_is_local_whatever_the_source(minis: dict[str, Path], tmp_path: Path) -> None:
    folder = foreign(minis["smollm2-135m"], tmp_path / "theirs")
    for source in Source:
        checkpoint = provide({"mine": str(folder)}, source, print)["mine"]
        assert (checkpoint.path, checkpoint.source) == (folder, Source.LOCAL)


@pytest.mark.parametrize("manifest", ['{"recipe_version": 1, "name": "x"}', "{", '{"source": "hub"}', "[]"])
def test_what_swapbench_made_and_does_not_say_what_it_is_gets_no_name(
    minis: dict[str, Path], tmp_path: Path, manifest: str
) -> None:
    folder = shutil.copytree(minis["smollm2-135m"], tmp_path / "old")
    (folder / "swapbench.json").write_text(manifest)
    assert said(provide, {"mine": str(folder)}, Source.HUB, print) == (
        f"{folder}/swapbench.json: doesn't say whether the model is synthetic or mini: it is damaged, or "
        "another version of swapbench made it; make the model again"
    )


def test_source_local_takes_nothing_but_paths_and_names_all_that_is_none(tmp_path: Path) -> None:
    models = {"small": "smollm2-135m", "large": REPO, "gone": str(tmp_path)}
    assert said(provide, models, Source.LOCAL, print) == (
        'small: source local takes folders, and "smollm2-135m" is no path; give one by '
        f'--set models.small=PATH; large: source local takes folders, and "{REPO}" is no path; give one by '
        f"--set models.large=PATH; gone: {tmp_path} is no whole checkpoint: "
        "config.json is missing; put a whole checkpoint there"
    )


def test_folders_that_are_missing_are_told_apart_from_models_that_can_be_got(
    empty_hub: Path, tmp_path: Path
) -> None:
    assert said(provide, {"gone": str(tmp_path), "big": REPO}, Source.HUB, print) == (
        "not in the Hugging Face cache: big (8.07 GB); run `swapbench models fetch gemma-3-12b`; "
        f"gone: {tmp_path} is no whole checkpoint: config.json is missing; put a whole checkpoint there"
    )


def test_a_path_that_is_no_checkpoint_says_what_it_lacks(tmp_path: Path) -> None:
    assert "is no whole checkpoint: config.json is missing" in said(
        provide, {"mine": str(tmp_path)}, Source.MINI, print
    )


def test_a_damaged_checkpoint_given_by_path_is_told_before_anything_runs(
    minis: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(minis["smollm2-135m"], tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert "model.safetensors is cut short" in said(provide, {"mine": str(folder)}, Source.MINI, print)


def test_a_model_made_of_ones_own_config_is_found_by_its_name_and_has_a_mini(
    cache: Path, tmp_path: Path
) -> None:
    from swapbench.models.stand_ins.store import make

    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    make(order.of_config_file("mine", Source.SYNTHETIC, path), lambda *_: None)
    assert locate("m", "mine", Source.SYNTHETIC).path == cache / "synthetic" / "mine"
    checkpoint = provide({"m": "mine"}, Source.MINI, lambda _: None)["m"]
    assert checkpoint.path == cache / "mini" / "mine"


def test_a_checkpoint_of_another_recipe_is_said_to_be(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.folder_of("smollm2-135m", Source.SYNTHETIC)
    folder.mkdir(parents=True)
    (folder / "swapbench.json").write_text('{"recipe_version": 0}')
    assert locate("small", "smollm2-135m", Source.SYNTHETIC).hint == (
        "made by another version of swapbench; `swapbench models synth smollm2-135m`"
    )


def test_the_parent_looks_for_models_without_importing_mlx(cache: Path) -> None:
    script = (
        "import sys\n"
        "from swapbench.spec.experiment import Source\n"
        "from swapbench.models import hub\n"
        "from swapbench.models.stand_ins import store\n"
        "from swapbench.models.locate import provide\n"
        "provide({'small': 'smollm2-135m'}, Source.MINI, print)\n"
        "assert not {'mlx', 'mlx_lm', 'transformers', 'numpy', 'pandas'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

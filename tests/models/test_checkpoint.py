import json
import shutil
from pathlib import Path

import pytest

from swapbench.models.checkpoint import damage, looks_whole, missing_files, weight_bytes
from swapbench.models.shards import Tensor, plan, write
from swapbench.models.values import Normal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two shards, as far as files go."""
    tensors = [Tensor(name, (100,), "F32", Normal(0, 1), name) for name in "ab"]
    write(plan(tensors, limit_bytes=800), tmp_path, "seed", lambda _: None)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text('{"model_type": "llama"}')
    return tmp_path


def test_a_whole_checkpoint_looks_so(folder: Path) -> None:
    assert damage(folder) == ""
    assert looks_whole(folder)
    assert weight_bytes(folder) == sum(path.stat().st_size for path in folder.glob("model-*.safetensors"))


def test_a_checkpoint_without_config_or_weights_says_so(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    assert damage(folder) == "it has no weights (model*.safetensors)"
    (folder / "config.json").unlink()
    assert damage(folder) == "config.json is missing"


@pytest.mark.parametrize("kept_bytes", [0, 4, 60, 300])
def test_a_shard_that_is_cut_short_is_noticed(folder: Path, kept_bytes: int) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept_bytes])
    assert damage(folder).startswith("model-00001-of-00002.safetensors is cut short")


def test_a_link_that_leads_nowhere_is_a_missing_shard(folder: Path) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(folder / "blobs" / "gone")
    assert damage(folder) == "model-00001-of-00002.safetensors is missing"


@pytest.mark.parametrize("indexed", [True, False])
def test_a_shard_of_a_series_that_is_not_there_is_named(folder: Path, indexed: bool) -> None:
    if not indexed:
        (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert missing_files(folder) == ("model-00001-of-00002.safetensors",)
    assert not looks_whole(folder)


def test_without_one_of_the_usual_tokenizer_files_it_does_not_look_whole(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert not looks_whole(folder)


def test_an_index_with_tensors_that_no_file_has_does_not_look_whole(folder: Path) -> None:
    named = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))
    assert missing_files(folder) == ()
    assert not looks_whole(folder)


def test_an_index_can_not_point_outside_its_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "model.safetensors"
    shutil.copy(folder / "model-00001-of-00002.safetensors", outside)
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": "{outside}"}}}}')
    assert missing_files(folder) == ("model.safetensors",)


@pytest.mark.parametrize(
    ("shard", "named"), [("a\0b", "a?b"), ("a\nb", "a?b"), ("../../etc/passwd", "passwd")]
)
def test_an_index_may_name_anything_and_only_files_of_the_checkpoint_are_looked_for(
    folder: Path, shard: str, named: str
) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert missing_files(folder) == (named,)


def test_an_index_nested_beyond_reason_counts_as_none(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[" * 100_000)
    assert looks_whole(folder)

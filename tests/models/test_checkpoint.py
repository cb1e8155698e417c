import json
import shutil
from pathlib import Path

import pytest

from swapbench.models.checkpoint import fault, weight_bytes
from swapbench.models.shards import Tensor, plan, write
from swapbench.models.values import Normal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two shards, as far as files go."""
    tensors = [Tensor(name, (100,), "F32", Normal(0, 1), name) for name in "ab"]
    write(plan(tensors, limit_bytes=800), tmp_path, "seed", lambda _: None)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_a_whole_checkpoint_has_no_fault(folder: Path) -> None:
    assert fault(folder) == ""
    assert weight_bytes(folder) == sum(path.stat().st_size for path in folder.glob("model-*.safetensors"))


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "the tokenizer is missing"),
        ("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors is missing"),
    ],
)
def test_what_is_missing_is_named(folder: Path, absent: str, said: str) -> None:
    (folder / absent).unlink()
    assert fault(folder) == said


def test_a_missing_shard_is_noticed_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert fault(folder) == "model-00001-of-00002.safetensors is missing"


def test_a_checkpoint_without_weights_says_so(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    assert fault(folder) == "it has no weights (model*.safetensors)"


@pytest.mark.parametrize("kept_bytes", [0, 4, 60, 300])
def test_a_shard_that_is_cut_short_is_noticed(folder: Path, kept_bytes: int) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept_bytes])
    assert fault(folder) == "model-00001-of-00002.safetensors is cut short"


def test_a_link_that_leads_nowhere_is_a_missing_shard(folder: Path) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(folder / "blobs" / "gone")
    assert fault(folder) == "model-00001-of-00002.safetensors is missing"


def test_an_index_can_not_point_outside_its_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "model.safetensors"
    shutil.copy(folder / "model-00001-of-00002.safetensors", outside)
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": "{outside}"}}}}')
    assert fault(folder) == "model.safetensors is missing"


@pytest.mark.parametrize(
    ("shard", "said"),
    [("a\0b", "a?b is missing"), ("a\nb", "a?b is missing"), ("../../etc/passwd", "passwd is missing")],
)
def test_an_index_may_name_anything_and_only_files_of_the_checkpoint_are_looked_at(
    folder: Path, shard: str, said: str
) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert fault(folder) == said


def test_an_index_nested_beyond_reason_counts_as_none(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[" * 100_000)
    assert fault(folder) == ""

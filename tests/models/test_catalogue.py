"""The catalogue is held against mlx-lm's own model classes: nothing in it is a guess."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from swapbench.models.catalogue import CATALOGUE, Entry, lookup
from swapbench.models.stand_ins import order, shards
from swapbench.models.stand_ins.synthesize import tensors
from swapbench.spec.experiment import Source

by_name = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)

MLX_TYPES: dict[Any, str] = {mx.bfloat16: "BF16", mx.float16: "F16", mx.float32: "F32", mx.uint32: "U32"}


@pytest.mark.parametrize(
    "reference",
    ["gemma-3-12b", "Gemma-3-12B", "mlx-community/gemma-3-12b-it-4bit", "MLX-Community/Gemma-3-12B-it-4bit"],
)
def test_a_model_is_known_by_short_name_and_by_repository_in_any_case(reference: str) -> None:
    entry = lookup(reference)
    assert entry is not None
    assert entry.name == "gemma-3-12b"


def test_other_words_are_no_models() -> None:
    assert lookup("gemma") is None
    assert lookup("") is None


@by_name
def test_mlx_lm_finds_every_tensor_of_the_full_size_checkpoint(entry: Entry, tmp_path: Path) -> None:
    """Headers are written as they would be, and the data left out as holes that take no disk."""
    wanted = order.of_entry(entry, Source.SYNTHETIC)
    for shard in shards.plan(tensors(wanted)):
        with (tmp_path / shard.file_name).open("wb") as file:
            file.write(shard.header)
            file.truncate(shard.nbytes)
    (tmp_path / "config.json").write_text(json.dumps(wanted.config))
    model, _ = load_model(tmp_path, lazy=True, strict=True)
    parameters: dict[str, Any] = dict(tree_flatten(model.parameters()))
    loaded = {name: (array.shape, MLX_TYPES[array.dtype]) for name, array in parameters.items()}
    assert loaded == {tensor.name: (tensor.shape, tensor.dtype) for tensor in tensors(wanted)}


@pytest.mark.parametrize(
    ("name", "count", "total_bytes"),
    [
        ("smollm2-135m", 272, 2 * 134_515_008),
        # Quantised weights take 4.5 bits, scales and biases included; what is 1-dimensional takes 16.
        # For gemma with the lm_head of its own that the published checkpoint has.
        ("gemma-3-12b", 1303, 7_185_864_192),
        ("qwen2.5-7b", 735, 4_284_263_424),
        ("qwen2.5-14b", 1255, 8_309_352_448),
        ("qwen2.5-0.5b", 628, 277_996_288),
    ],
)
def test_tensors_and_bytes_are_those_of_the_published_checkpoints(
    name: str, count: int, total_bytes: int
) -> None:
    entry = lookup(name)
    assert entry is not None
    planned = tensors(order.of_entry(entry, Source.SYNTHETIC))
    assert len(planned) == count
    assert sum(tensor.nbytes for tensor in planned) == total_bytes


@by_name
@pytest.mark.parametrize("source", [Source.SYNTHETIC, Source.MINI])
def test_the_stated_sizes_are_exact(entry: Entry, source: Source) -> None:
    planned = shards.plan(tensors(order.of_entry(entry, source)))
    stated = entry.mini_bytes if source is Source.MINI else entry.synthetic_bytes
    assert sum(shard.nbytes for shard in planned) == stated


@by_name
def test_no_shard_is_over_five_gigabytes(entry: Entry) -> None:
    planned = shards.plan(tensors(order.of_entry(entry, Source.SYNTHETIC)))
    assert all(shard.nbytes <= 5_000_000_000 for shard in planned)


@by_name
def test_every_special_token_has_an_id_within_the_model(entry: Entry) -> None:
    assert entry.vocabulary.size <= entry.config["vocab_size"]
    assert all(number < entry.vocabulary.size for _, number in entry.vocabulary.specials)
    ends = entry.config["eos_token_id"]
    assert entry.vocabulary.id_of(entry.vocabulary.eos) in (ends if isinstance(ends, list) else [ends])


def test_the_small_model_is_small_as_a_mini_too() -> None:
    small, *large = (entry.mini_bytes for entry in CATALOGUE)
    assert all(3 * small < size for size in large)


@by_name
def test_a_mini_is_called_as_it_is_made(entry: Entry) -> None:
    assert order.of_entry(entry, Source.MINI).name == entry.mini_name

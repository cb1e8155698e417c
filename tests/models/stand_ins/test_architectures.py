"""Every architecture that mlx-lm has is made, full size and mini, and its mini answers.

architectures.json holds what makers publish of one model each: of its config.json what mlx-lm's class reads.
Where there is none, it says why.
"""

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import mlx_lm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.models.cache import CacheList, make_prompt_cache
from mlx_lm.utils import _get_classes

from swapbench.base.errors import ModelError
from swapbench.models.checkpoint import weight_bytes
from swapbench.models.stand_ins import order, synthesize
from swapbench.models.stand_ins.order import Order
from swapbench.models.stand_ins.shards import Tensor
from swapbench.spec.experiment import Source

KNOWN: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("architectures.json").read_text())
CONFIGS: Final = {name: config for name, config in KNOWN.items() if not isinstance(config, str)}

MODULES: Final = sorted(
    path.stem
    for path in (Path(mlx_lm.__file__).parent / "models").glob("*.py")
    if "class ModelArgs" in path.read_text(encoding="utf-8")
)

# What has no mini that answers here, and what is said where it is tried.
EXCEPTIONS: Final = {
    "bitnet": "No Metal back-end",
    "muse_spark": "No Metal back-end",
    "gear": "layer_types",  # transformers, reading the tokenizer's config, knows no conv_mixer
    "nemotron-nas": "max_position_embeddings",  # transformers trips over scaled RoPE of unknown types
}

MOST_BYTES: Final = 30_000_000

of_each = pytest.mark.parametrize("name", sorted(CONFIGS))


def ordered(name: str, source: Source, folder: Path) -> Order:
    path = folder / "published.json"
    path.write_text(json.dumps(CONFIGS[name]))
    return order.of_config_file("mine", source, path)


def size(planned: tuple[Tensor, ...]) -> int:
    return sum(tensor.nbytes for tensor in planned)


def kinds_of_caches(model: Any) -> set[str]:
    """The types of the caches that a model makes for its layers, those in lists of caches included."""
    caches = make_prompt_cache(model)
    within = [inner for cache in caches if isinstance(cache, CacheList) for inner in cache.caches]
    return {type(cache).__name__ for cache in (*caches, *within)}


def answer(checkpoint: Path) -> Any:
    """The model, after a few tokens, the likeliest each: what a class masks may be infinite, these not."""
    model = mlx_lm.load(str(checkpoint))[0]
    cache = make_prompt_cache(model)
    tokens = mx.array([[5, 6, 7, 300]])
    for _ in range(3):
        logits = model(tokens, cache=cache)[:, -1]
        tokens = mx.argmax(logits, axis=-1)[None]
        assert not bool(mx.any(mx.isnan(logits)))
        assert bool(mx.isfinite(mx.max(logits)))
    return model


def test_everything_that_mlx_lm_has_is_known_and_nothing_else() -> None:
    assert not set(MODULES) - set(KNOWN), (
        "mlx-lm has models that architectures.json doesn't know: add what their makers publish "
        "of config.json, or why there is no such thing"
    )
    assert set(KNOWN) == set(MODULES)


@of_each
def test_the_full_size_is_planned_and_its_mini_has_its_kinds_of_layers_and_generates_finite_tokens(
    name: str, tmp_path: Path
) -> None:
    full, mini = (ordered(name, source, tmp_path) for source in (Source.SYNTHETIC, Source.MINI))
    checkpoint = tmp_path / "mini"
    checkpoint.mkdir()
    synthesize.make(mini, checkpoint, lambda *_: None)
    assert weight_bytes(checkpoint) < min(MOST_BYTES, size(synthesize.tensors(full)) / 4)
    if name in EXCEPTIONS:
        with pytest.raises(Exception, match=EXCEPTIONS[name]):  # once it answers, it is no exception any more
            answer(checkpoint)
        model = synthesize.empty_model(synthesize.read(mini.config), _get_classes)[0]
    else:
        model = answer(checkpoint)
    whole = synthesize.empty_model(synthesize.read(full.config), _get_classes)[0]
    assert kinds_of_caches(model) == kinds_of_caches(whole)


ODD: Final[tuple[Any, ...]] = (
    None,
    0,
    -1,
    1,
    7,
    64,
    1.5,
    10**12,
    "x",
    "1,2",
    "auto",
    [],
    [1, "a"],
    [0],
    [None],
    {},
    {"a": 1},
    True,
)


@given(
    name=st.sampled_from(sorted(CONFIGS)), drawn=st.randoms(use_true_random=False), odd=st.sampled_from(ODD)
)
def test_a_mini_of_nonsense_is_a_mini_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, drawn: random.Random, odd: Any
) -> None:
    config = json.loads(json.dumps(CONFIGS[name]))
    table = config.get("text_config") or config
    table[drawn.choice(sorted(table))] = odd
    path = tmp_path_factory.getbasetemp() / "nonsense.json"
    path.write_text(json.dumps(config))
    with suppress(ModelError):
        order.of_config_file("mine", Source.MINI, path)

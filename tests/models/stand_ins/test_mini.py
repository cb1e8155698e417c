import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from swapbench.models.catalogue import CATALOGUE, Entry, lookup
from swapbench.models.locate import provide
from swapbench.models.stand_ins import order
from swapbench.models.stand_ins.store import make
from swapbench.models.stand_ins.synthesize import tensors
from swapbench.spec.experiment import Source
from tests.models.stand_ins.test_order import LLAMA

by_name = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)


@by_name
def test_mlx_lm_loads_every_mini_and_it_generates_finite_tokens(entry: Entry, minis: dict[str, Path]) -> None:
    model, tokenizer = mlx_lm.load(str(minis[entry.name]))[:2]
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], add_generation_prompt=True)
    answers = list(mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=48))
    assert len(answers) >= 1
    assert all(
        0 <= answer.token < order.of_entry(entry, Source.MINI).config["vocab_size"] for answer in answers
    )
    assert all(bool(mx.all(mx.isfinite(answer.logprobs))) for answer in answers)


@by_name
def test_a_mini_keeps_the_architecture(entry: Entry) -> None:
    full, small = entry.config, order.of_entry(entry, Source.MINI).config
    assert small["model_type"] == full["model_type"]
    assert small.get("quantization") == full.get("quantization")
    assert small.get("tie_word_embeddings") == full.get("tie_word_embeddings")
    full_text, small_text = full.get("text_config", full), small.get("text_config", small)
    assert small_text["num_attention_heads"] > small_text["num_key_value_heads"]
    assert small_text["hidden_size"] <= full_text["hidden_size"] / 2
    assert entry.mini_bytes < entry.synthetic_bytes / 10


@by_name
def test_two_ranks_can_share_a_mini_where_they_can_share_the_real_model(entry: Entry) -> None:
    full, small = entry.config, order.of_entry(entry, Source.MINI).config
    full, small = full.get("text_config", full), small.get("text_config", small)
    assert small["num_key_value_heads"] % 2 == full["num_key_value_heads"] % 2
    if "quantization" in small:
        assert small["intermediate_size"] % (2 * small["quantization"]["group_size"]) == 0
        assert small["hidden_size"] % (2 * small["quantization"]["group_size"]) == 0


def test_gemmas_mini_has_global_layers_and_windows_that_rotate(minis: dict[str, Path]) -> None:
    model = mlx_lm.load(str(minis["gemma-3-12b"]))[0]
    caches: list[Any] = make_prompt_cache(model)
    kinds = [type(cache) for cache in caches]
    assert kinds.count(KVCache) >= 1
    assert kinds.count(RotatingKVCache) > kinds.count(KVCache)
    for _ in range(40):
        mx.eval(model(mx.array([[5]]), cache=caches))
    held = {cache.state[0].shape[2] for cache in caches if type(cache) is RotatingKVCache}
    assert held == {32}


def test_special_tokens_keep_their_meaning_in_a_mini() -> None:
    gemma = lookup("gemma-3-12b")
    assert gemma is not None
    made = order.of_entry(gemma, Source.MINI)
    ends = [made.vocabulary.id_of("<eos>"), made.vocabulary.id_of("<end_of_turn>")]
    assert made.config["eos_token_id"] == ends


def published(folder: Path, config: dict[str, Any]) -> Path:
    """A config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_a_mini_without_its_tower_says_so_by_its_name(cache: Path, tmp_path: Path) -> None:
    seeing = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": LLAMA,
        "vision_config": {"hidden_size": 1024},
    }
    full = order.of_config_file("eyes", Source.SYNTHETIC, published(tmp_path, seeing))
    small = order.of_config_file("eyes", Source.MINI, published(tmp_path, seeing))
    assert (full.name, small.name) == ("eyes", "eyes-text")
    assert not small.config.keys() & {"vision_config", "architectures"}
    make(full, lambda *_: None)
    found = provide({"a": "eyes"}, Source.MINI, lambda _: None)["a"]
    assert found.path.name == "eyes-text"


@pytest.mark.parametrize(("heads", "kv_heads"), [(48, 1), (40, 8), (64, 8), (9, 3), (32, 32), (20, 5)])
def test_query_heads_stay_a_multiple_of_the_kv_heads(tmp_path: Path, heads: int, kv_heads: int) -> None:
    config = LLAMA | {
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_size": 64 * heads,
    }
    small = order.of_config_file("mine", Source.MINI, published(tmp_path, config)).config
    assert small["num_attention_heads"] % small["num_key_value_heads"] == 0
    assert small["num_attention_heads"] * 32 == small["hidden_size"] <= 128
    assert small["num_key_value_heads"] % 2 == kv_heads % 2


def test_lists_with_a_number_for_each_layer_are_scaled_item_by_item(tmp_path: Path) -> None:
    config = LLAMA | {"num_hidden_layers": 30, "hidden_size": 2048, "intermediate_size": [8192, 4096] * 15}
    small = order.of_config_file("mine", Source.MINI, published(tmp_path, config)).config
    assert small["intermediate_size"] == [512, 256, 512, 256, 512]


def test_factors_of_rope_stay_one_for_each_pair_that_is_rotated(tmp_path: Path) -> None:
    rope = {"type": "longrope", "long_factor": [1.0] * 48, "short_factor": [1.0] * 48}
    config = LLAMA | {"head_dim": 128, "partial_rotary_factor": 0.75, "rope_scaling": rope}
    small = order.of_config_file("mine", Source.MINI, published(tmp_path, config)).config
    assert small["head_dim"] * small["partial_rotary_factor"] == 24
    assert len(small["rope_scaling"]["long_factor"]) == len(small["rope_scaling"]["short_factor"]) == 12


def test_groups_of_layers_with_their_own_quantisation_fit_a_mini_too(tmp_path: Path) -> None:
    own = {"model.layers.0.mlp.up_proj": {"group_size": 128, "bits": 8}, "lm_head": False}
    config = LLAMA | {"quantization": {"group_size": 32, "bits": 4, **own}}
    small = order.of_config_file("mine", Source.MINI, published(tmp_path, config))
    assert small.config["hidden_size"] % 256 == small.config["intermediate_size"] % 256 == 0
    assert {t.name for t in tensors(small)} >= {"model.layers.0.mlp.up_proj.scales", "lm_head.weight"}
    assert "lm_head.scales" not in {t.name for t in tensors(small)}


def test_small_checkpoints_of_other_architectures_can_be_scaled_down(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"model_type": "qwen3_moe", "hidden_size": 2048, "head_dim": 128, "num_experts": 128,'
        ' "num_experts_per_tok": 8, "moe_intermediate_size": 768, "intermediate_size": 6144,'
        ' "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": true,'
        ' "tie_word_embeddings": false, "num_attention_heads": 32, "num_key_value_heads": 4,'
        ' "num_hidden_layers": 48, "rms_norm_eps": 1e-6, "vocab_size": 151936, "rope_theta": 1e6,'
        ' "max_position_embeddings": 40960, "quantization": {"group_size": 64, "bits": 4}}'
    )
    small = order.of_config_file("moe", Source.MINI, path)
    assert small.config["num_experts"] == 8
    assert sum(tensor.nbytes for tensor in tensors(small)) < 20_000_000

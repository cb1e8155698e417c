import json
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import ModelError
from swapbench.models.catalogue import CATALOGUE
from swapbench.models.stand_ins import order
from swapbench.models.stand_ins.synthesize import tensors
from swapbench.spec.experiment import Source

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}


def refused(folder: Path, **changes: Any) -> str:
    """What is said of a llama config with `changes`; None takes a key out."""
    config = {key: value for key, value in (LLAMA | changes).items() if value is not None}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError) as refusal:
        tensors(order.of_config_file("mine", Source.SYNTHETIC, path))
    text = str(refusal.value)
    assert "\n" not in text
    return text


def test_an_unknown_architecture_is_answered_with_the_nearest_known(tmp_path: Path) -> None:
    assert refused(tmp_path, model_type="lama") == (
        'mlx-lm knows no architecture "lama"; did you mean "llama"?'
    )


@pytest.mark.parametrize("model_type", ["../../secret", "..llama", "os.path", "cache", "zzzzzz", ""])
def test_a_model_type_never_leads_out_of_mlx_lms_models(tmp_path: Path, model_type: str) -> None:
    assert "mlx-lm knows no architecture" in refused(tmp_path, model_type=model_type)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": None}, "model_type is missing"),
        ({"num_hidden_layers": -3}, "num_hidden_layers = -3; must be a whole number from 1 to 1000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000"),
        ({"hidden_size": "big"}, "hidden_size = 'big'"),
        ({"vocab_size": 20}, "vocab_size = 20"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"quantization": {"group_size": 64, "bits": 7}}, "number of bits 7 is not supported"),
        ({"quantization": {"bits": 4}}, "'group_size' is missing"),
        ({"quantization": 4}, "mlx-lm's class for llama refuses the config"),
        ({"intermediate_size": [512, "big"]}, "intermediate_size = [512, 'big']"),
        ({"model_file": "model.py"}, "code of its own"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes"}},
            "no weights of quant_method 'bitsandbytes'",
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "supported for AutoAWQ/GPTQ models"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, "quant_algo: FP8"),
        ({"quantization_config": {"bits": 4}}, "'quant_method' is missing"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
        ({"layer_types": ["no_such_attention"] * 2}, "mlx-lm's class for llama refuses the config"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, **changes)


@pytest.mark.parametrize(("text", "said"), [("{", "not valid JSON"), ("[]", "not a JSON object")])
def test_what_is_no_config_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=said):
        order.of_config_file("mine", Source.SYNTHETIC, path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        order.of_config_file("mine", Source.SYNTHETIC, tmp_path / "absent.json")


def test_googles_gemma_3_config_leaves_the_vocabulary_to_the_class(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}
    path.write_text(json.dumps({"model_type": "gemma3", "text_config": text | {"intermediate_size": 10240}}))
    made = order.of_config_file("gemma", Source.SYNTHETIC, path)
    assert made.vocabulary.size == 262_208
    assert max(tensor.shape[0] for tensor in tensors(made)) == 262_208


def test_orders_are_equal_only_when_their_checkpoints_are() -> None:
    digests = {order.of_entry(e, s).digest() for e in CATALOGUE for s in (Source.SYNTHETIC, Source.MINI)}
    assert len(digests) == 2 * len(CATALOGUE)
    assert order.of_entry(CATALOGUE[0], Source.MINI).digest() in digests


def test_tied_embeddings_have_no_head_of_their_own(tmp_path: Path) -> None:
    for tied in (True, False):
        path = tmp_path / f"{tied}.json"
        path.write_text(json.dumps(LLAMA | {"tie_word_embeddings": tied}))
        names = {tensor.name for tensor in tensors(order.of_config_file("mine", Source.SYNTHETIC, path))}
        assert ("lm_head.weight" in names) is not tied


def test_layers_can_be_quantised_each_in_its_own_way(tmp_path: Path) -> None:
    quantization = {
        "group_size": 64,
        "bits": 4,
        "lm_head": False,
        "model.embed_tokens": {"group_size": 32, "bits": 8},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | {"quantization": quantization}))
    found = {tensor.name: tensor for tensor in tensors(order.of_config_file("mine", Source.SYNTHETIC, path))}
    assert "lm_head.scales" not in found
    assert found["model.embed_tokens.scales"].shape == (1000, 256 // 32)
    assert found["model.layers.0.mlp.up_proj.weight"].shape == (512, 256 * 4 // 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_key_value_heads": 3},
        {"num_experts": 0},
        {"intermediate_size": [512, 768]},
        {"sliding_window": None},
        {"quantization": {"group_size": 32, "bits": 3}},
        {"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}},
        {"quantization_config": {}},
    ],
)
def test_what_mlx_lm_takes_is_not_refused_beforehand(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | changes))
    assert order.of_config_file("mine", Source.SYNTHETIC, path).config == LLAMA | changes


def test_a_vocabulary_that_is_left_to_the_class_is_the_class_s(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "cohere", "hidden_size": 64, "num_hidden_layers": 1}')
    assert order.of_config_file("c", Source.SYNTHETIC, path).vocabulary.size == 256_000


def test_a_vocabulary_that_stands_where_the_class_looks_for_none_is_put_where_it_looks(
    tmp_path: Path,
) -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 6, "vocab_size": 512}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gemma3", "text_config": text | {"intermediate_size": 128}}))
    made = order.of_config_file("gemma", Source.SYNTHETIC, path)
    assert made.vocabulary.size == made.config["vocab_size"] == 512
    assert max(tensor.shape[0] for tensor in tensors(made) if "embed" in tensor.name) == 512


def test_a_head_beside_tied_embeddings_is_dropped_by_classes_that_drop_it_once(tmp_path: Path) -> None:
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 64,
        "num_hidden_layers": 6,
        "tie_word_embeddings": True,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gemma3", "vocab_size": 512, "text_config": text}))
    made = tensors(order.of_config_file("gemma", Source.SYNTHETIC, path))
    assert not [tensor.name for tensor in made if "lm_head" in tensor.name]

"""Checkpoints of other makers' formats are made so that mlx-lm loads them as it loads published ones."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.bitlinear_layers import BitLinear
from mlx_lm.utils import load_config, load_model

from swapbench.models.checkpoint import read_header
from swapbench.models.stand_ins import order, synthesize
from swapbench.models.stand_ins.store import make
from swapbench.spec.experiment import Source
from tests.models.stand_ins.test_order import LLAMA

ENDLESS = {
    "model_type": "mamba2",
    "num_heads": 8,
    "head_dim": 64,
    "hidden_size": 256,
    "intermediate_size": 512,
    "state_size": 64,
    "num_hidden_layers": 2,
    "layer_norm_epsilon": 1e-5,
    "conv_kernel": 4,
    "n_groups": 1,
    "use_bias": False,
    "use_conv_bias": True,
    "tie_word_embeddings": False,
    "vocab_size": 512,
    "time_step_rank": 16,
    "time_step_limit": [0.0, "?"],
}


def made(folder: Path, source: Source = Source.SYNTHETIC, **changes: Any) -> Path:
    """A checkpoint of a small Llama with `changes`."""
    (folder / "given.json").write_text(json.dumps(LLAMA | changes))
    checkpoint = folder / "made"
    checkpoint.mkdir()
    synthesize.make(order.of_config_file("mine", source, folder / "given.json"), checkpoint, lambda *_: None)
    return checkpoint


def finite(model: Any) -> bool:
    return bool(mx.all(mx.isfinite(model(mx.array([[5, 6, 7]])))))


@pytest.mark.parametrize("source", [Source.SYNTHETIC, Source.MINI])
@pytest.mark.parametrize(
    ("foreign", "bits", "mode"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4, "affine"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, 4, "affine"),
        ({"quant_method": "mxfp4"}, 4, "mxfp4"),
        ({"quant_method": "mxfp8"}, 8, "mxfp8"),
        ({"quant_method": "fp8", "scale_fmt": "ue8m0", "weight_block_size": [32, 32]}, 8, "mxfp8"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, 4, "affine"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, 4, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4, "nvfp4"),
    ],
)
def test_a_quant_method_of_mlx_lms_is_made_as_it_loads_it(
    tmp_path: Path, foreign: dict[str, Any], bits: int, mode: str, source: Source
) -> None:
    model, config = load_model(made(tmp_path, source, quantization_config=foreign))
    up, head = model.layers[0].mlp.up_proj, model.lm_head
    assert (up.bits, up.mode) == (bits, mode)
    assert not hasattr(head, "bits")
    assert config["quantization"]["bits"] == bits
    assert finite(model)


def test_weights_of_awq_are_small_numbers_around_zero(tmp_path: Path) -> None:
    checkpoint = made(tmp_path, quantization_config={"quant_method": "awq", "bits": 4, "group_size": 128})
    names = {entry.name.rpartition(".")[2] for entry in read_header(checkpoint / "model.safetensors")}
    assert names == {"weight", "qweight", "qzeros", "scales"}
    up = load_model(checkpoint)[0].layers[0].mlp.up_proj
    weights = mx.dequantize(up.weight, up.scales, up.biases, up.group_size, up.bits).astype(mx.float32)
    assert abs(float(weights.mean())) < 0.004  # AWQ's zero is a code, half a code off the middle
    assert 0.01 < float(mx.std(weights)) < 0.04


def test_what_a_format_leaves_alone_stays_in_floats(tmp_path: Path) -> None:
    left = {"ignore": ["lm_head", "re:.*down_proj$", "model.layers.0.self_attn", "model.*.1.mlp.gate_proj"]}
    foreign = {"quant_method": "compressed-tensors", "format": "pack-quantized"} | left
    first, second = load_model(made(tmp_path, quantization_config=foreign))[0].layers
    quantised = [first.mlp.up_proj, second.self_attn.q_proj, first.mlp.gate_proj]
    floats = [first.mlp.down_proj, first.self_attn.q_proj, second.mlp.gate_proj]
    assert all(hasattr(module, "bits") for module in quantised)
    assert not any(hasattr(module, "bits") for module in floats)


def test_bitnets_ternary_weights_are_made_and_loaded(tmp_path: Path) -> None:
    foreign = {"quant_method": "bitnet", "linear_class": "autobitlinear", "modules_to_not_convert": None}
    checkpoint = made(tmp_path, model_type="bitnet", quantization_config=foreign)
    model, _ = load_model(checkpoint)
    up = model.layers[0].mlp.up_proj
    assert isinstance(up, BitLinear)
    codes = [(up.weight >> shift) & 3 for shift in (0, 2, 4, 6)]
    assert all(0 < float(code.astype(mx.float32).mean()) < 2 and int(code.max()) == 2 for code in codes)


def test_fp8_that_mlx_lm_brings_back_to_floats_is_made_of_floats(tmp_path: Path) -> None:
    model, _ = load_model(
        made(tmp_path, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    )
    parameters: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    assert {array.dtype for array in parameters.values()} == {mx.bfloat16}


@pytest.mark.parametrize("written", ["Infinity", '{"__float__": "Infinity"}'])
def test_numbers_without_end_reach_the_class_as_mlx_lm_reads_them(
    cache: Path, tmp_path: Path, written: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(ENDLESS).replace('"?"', written))
    for source in (Source.SYNTHETIC, Source.MINI):
        checkpoint = make(order.of_config_file("endless", source, path), lambda *_: None)
        assert load_config(checkpoint)["time_step_limit"] == [0.0, math.inf]
        assert load_model(checkpoint)[0].args.time_step_limit == [0.0, math.inf]

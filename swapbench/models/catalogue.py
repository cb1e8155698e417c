"""The models of the experiments: what their published MLX checkpoints are, as facts.

Configurations are those of the published config.json files, without what concerns training or vision only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from swapbench.models.stand_ins.dimensions import is_part_of_more
from swapbench.models.stand_ins.tokenizer import Vocabulary


@dataclass(frozen=True)
class Entry:
    """A model that swapbench knows by name.

    Args:
        repo: the Hugging Face repository of its MLX version.
        dtype: of the weights that are not quantised, and of the scales of those that are.
        hub_bytes: what fetching it takes, about.
        synthetic_bytes, mini_bytes: bytes of the weight files that swapbench writes for it, exactly.
        note: where the synthetic checkpoint differs from the published one.
    """

    name: str
    repo: str
    title: str
    config: Mapping[str, Any] = field(hash=False)
    dtype: str
    vocabulary: Vocabulary
    hub_bytes: int
    synthetic_bytes: int
    mini_bytes: int
    note: str = ""

    @property
    def mini_name(self) -> str:
        """What its mini is called: where text is one of several things that it takes, the text part alone."""
        return f"{self.name}-text" if is_part_of_more(self.config) else self.name


_SMOLLM2: Final = Entry(
    name="smollm2-135m",
    repo="mlx-community/SmolLM2-135M-Instruct",
    title="SmolLM2 135M Instruct, bf16",
    config={
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 576,
        "initializer_range": 0.041666666666666664,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": 49152,
    },
    dtype="bfloat16",
    vocabulary=Vocabulary(
        size=49_152,
        # One for each token; the published tokenizer lacks a few byte tokens and has 48,900.
        merges=48_879,
        specials=tuple(
            (token, number)
            for number, token in enumerate(
                (
                    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>"),
                    *("<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>"),
                    *("<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>"),
                    *("<jupyter_output>", "<jupyter_script>", "<empty_output>"),
                )
            )
        ),
        bos="<|im_start|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        adds_bos=False,
        chat="chatml",
    ),
    hub_bytes=273_000_000,
    synthetic_bytes=269_060_552,
    mini_bytes=1_284_992,
)

_GEMMA_3: Final = Entry(
    name="gemma-3-12b",
    repo="mlx-community/gemma-3-12b-it-4bit",
    title="Gemma 3 12B it, 4-bit",
    config={
        "architectures": ["Gemma3ForConditionalGeneration"],
        "bos_token_id": 2,
        "eos_token_id": [1, 106],
        "initializer_range": 0.02,
        "model_type": "gemma3",
        "pad_token_id": 0,
        "quantization": {"group_size": 64, "bits": 4},
        "text_config": {
            "head_dim": 256,
            "hidden_size": 3840,
            "intermediate_size": 15360,
            "max_position_embeddings": 131072,
            "model_type": "gemma3_text",
            "num_attention_heads": 16,
            "num_hidden_layers": 48,
            "num_key_value_heads": 8,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-06,
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "rope_theta": 1000000.0,
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
            "vocab_size": 262208,
        },
        "torch_dtype": "bfloat16",
        "vocab_size": 262208,
    },
    dtype="bfloat16",
    vocabulary=Vocabulary(
        size=262_145,
        merges=514_906,
        specials=(
            *(("<pad>", 0), ("<eos>", 1), ("<bos>", 2), ("<unk>", 3), ("<mask>", 4)),
            *(("<start_of_turn>", 105), ("<end_of_turn>", 106)),
            *(("<start_of_image>", 255_999), ("<end_of_image>", 256_000), ("<image_soft_token>", 262_144)),
        ),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        adds_bos=True,
        chat="turns",
    ),
    hub_bytes=8_070_000_000,
    synthetic_bytes=7_186_033_048,
    mini_bytes=5_471_376,
    note="with the separate, quantised lm_head of the published checkpoint, without its vision tower "
    "(0.84 GB), which mlx-lm never reads",
)

_QWEN2_5_VOCABULARY: Final = Vocabulary(
    size=151_665,
    merges=151_387,
    specials=tuple(
        (token, 151_643 + number)
        for number, token in enumerate(
            (
                *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>"),
                *("<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>"),
                *("<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
                *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"),
                *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
            )
        )
    ),
    bos="<|endoftext|>",
    eos="<|im_end|>",
    pad="<|endoftext|>",
    adds_bos=False,
    chat="chatml",
)

_QWEN2_5_14B: Final = Entry(
    name="qwen2.5-14b",
    repo="mlx-community/Qwen2.5-14B-Instruct-4bit",
    title="Qwen2.5 14B Instruct, 4-bit",
    config={
        "architectures": ["Qwen2ForCausalLM"],
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        "hidden_size": 5120,
        "initializer_range": 0.02,
        "intermediate_size": 13824,
        "max_position_embeddings": 32768,
        "max_window_layers": 70,
        "model_type": "qwen2",
        "num_attention_heads": 40,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "quantization": {"group_size": 64, "bits": 4},
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 131072,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "vocab_size": 152064,
    },
    # The config says bfloat16, but the mlx-lm of September 2024 cast to float16 before it quantised.
    dtype="float16",
    vocabulary=_QWEN2_5_VOCABULARY,
    hub_bytes=8_320_000_000,
    synthetic_bytes=8_309_494_416,
    mini_bytes=4_479_816,
)

_QWEN2_5_SMALL: Final = Entry(
    name="qwen2.5-0.5b",
    repo="mlx-community/Qwen2.5-0.5B-Instruct-4bit",
    title="Qwen2.5 0.5B Instruct, 4-bit",
    config={
        "architectures": ["Qwen2ForCausalLM"],
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        "hidden_size": 896,
        "initializer_range": 0.02,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "max_window_layers": 21,
        "model_type": "qwen2",
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "quantization": {"group_size": 64, "bits": 4},
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    # As its big sister: scales of the published file are float16, whatever the config says.
    dtype="float16",
    vocabulary=_QWEN2_5_VOCABULARY,
    hub_bytes=290_000_000,
    synthetic_bytes=278_065_376,
    mini_bytes=5_885_960,
)


# Half the other's size and of the same class: what a sharded target swaps with it.
_QWEN2_5_7B: Final = Entry(
    name="qwen2.5-7b",
    repo="mlx-community/Qwen2.5-7B-Instruct-4bit",
    title="Qwen2.5 7B Instruct, 4-bit",
    config={
        **_QWEN2_5_14B.config,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_window_layers": 28,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
    },
    dtype="float16",
    vocabulary=_QWEN2_5_VOCABULARY,
    hub_bytes=4_300_000_000,
    synthetic_bytes=4_284_346_208,
    mini_bytes=6_131_976,
)

CATALOGUE: Final = (_SMOLLM2, _GEMMA_3, _QWEN2_5_SMALL, _QWEN2_5_7B, _QWEN2_5_14B)


def lookup(reference: str) -> Entry | None:
    """The entry called `reference`, by short name or repository, in any case."""
    wanted = reference.casefold()
    return next((e for e in CATALOGUE if wanted in (e.name.casefold(), e.repo.casefold())), None)

from typing import Any

import pytest

from swapbench.models.stand_ins.dimensions import fewer_layers, fewer_sharing, layer_count, shorten

EVERY_FOURTH = ["linear", "linear", "linear", "full"]


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ({"num_hidden_layers": 2}, 2),
        ({"num_hidden_layers": 30}, 5),
        ({"num_hidden_layers": 126}, 8),
        ({"n_layer": 12}, 4),
        ({"num_hidden_layers": 48, "layer_types": EVERY_FOURTH * 12}, 8),
        ({"num_hidden_layers": 24, "layer_types": EVERY_FOURTH * 6}, 5),
        ({"num_hidden_layers": 24, "full_attention_interval": 4}, 5),
        ({"num_hidden_layers": 32, "attn_layer_period": 8, "expert_layer_period": 2}, 9),
        ({"num_hidden_layers": 24, "full_attn_idxs": [6, 12, 18]}, 8),
        ({"num_hidden_layers": 24, "first_k_dense_replace": 3}, 4),
        ({"num_hidden_layers": 24, "sliding_window": 512}, 7),
        ({"num_hidden_layers": 24, "sliding_window_pattern": "LLLLLG"}, 7),
        ({"hybrid_override_pattern": "M-M-M-M*-" * 3}, 9),
        ({"num_hidden_layers": 24, "widths": list(range(24))}, 4),
    ],
)
def test_a_sixth_of_the_layers_stays_and_each_kind_of_them(table: dict[str, Any], kept: int) -> None:
    assert fewer_layers(table) == kept


def test_where_layers_share_keys_one_turn_shares_nothing() -> None:
    table = {"num_hidden_layers": 40, "num_kv_shared_layers": 20, "layer_types": EVERY_FOURTH * 10}
    assert fewer_layers(table) == 8
    assert fewer_sharing(table, 8) == 4
    assert fewer_sharing(table | {"num_kv_shared_layers": 32}, 8) == 4


def test_what_is_said_of_each_layer_is_cut_with_them() -> None:
    table = {
        "kinds": EVERY_FOURTH * 2,
        "hybrid_override_pattern": "M-M*M-M*",
        "full_attn_idxs": [3, 7],
        "moe_layers_enum": "1,2,3,4,5,6,7",
        "eos_token_id": [1, 106],
        "layers_of_others": 8,
    }
    shorten(table, 8, 4)
    assert table == {
        "kinds": EVERY_FOURTH,
        "hybrid_override_pattern": "M-M*",
        "full_attn_idxs": [3],
        "moe_layers_enum": "1,2,3",
        "eos_token_id": [1, 106],
        "layers_of_others": 8,
    }


def test_layers_that_are_counted_from_one_are_cut_so() -> None:
    table: dict[str, Any] = {"kda_layers": [1, 2, 3, 5, 6, 7], "full_attn_layers": [4, 8]}
    shorten(table, 8, 4)
    assert table == {"kda_layers": [1, 2, 3], "full_attn_layers": [4]}


def test_a_table_without_a_count_has_as_many_layers_as_it_lists() -> None:
    assert layer_count({"layers_block_type": ["mamba", "attention"]}) == 2
    assert layer_count({}) == 1

"""Texts that have too little room, and a figure over time in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.report.layout import shortened, sparkline


def test_each_value_has_a_bar_where_there_is_room() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 20) == "▁▂▃▄▅▆▇█"


def test_many_values_are_thinned_to_medians_of_neighbours() -> None:
    values = [1.0] * 50_000 + [2.0] * 50_000
    values[10_000] = 1_000.0
    assert sparkline(values, 10) == "▁▁▁▁▁█████"


def test_a_per_cent_up_and_down_is_no_mountain_range() -> None:
    assert set(sparkline([1.0, 1.01, 1.0, 0.99], 10)) <= set("▄▅")


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_values_are_flat(value: float) -> None:
    assert len(set(sparkline([value] * 5, 10))) == 1


@pytest.mark.parametrize(
    ("most", "told"),
    [(9, "abcdefghi"), (8, "abcd…ghi"), (4, "ab…i"), (2, "a…"), (1, "…"), (0, ""), (-3, "")],
)
def test_a_name_is_cut_in_the_middle(most: int, told: str) -> None:
    assert shortened("abcdefghi", most) == told


@given(st.text(max_size=50), st.integers(0, 60))
def test_no_name_takes_more_than_its_room_and_none_is_cut_that_has_enough(name: str, most: int) -> None:
    told = shortened(name, most)
    assert len(told) == min(len(name), most)
    assert told == name or len(name) > most

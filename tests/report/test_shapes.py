"""Names that have too little room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.report.text import shortened


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

"""The slope and its interval against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from swapbench.stats.theil_sen import theil_sen


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), min_size=5, max_size=40),
)
def test_slope_and_interval_are_those_of_scipy_ties_included(steps: list[tuple[int, int]]) -> None:
    xs = np.cumsum([step for step, _ in steps]).astype(float)
    ys = [float(y) for _, y in steps]
    found = theil_sen([(xs.tolist(), ys)])
    expected = theilslopes(ys, xs, alpha=0.95)
    assert found is not None
    assert (found.point, found.low, found.high) == pytest.approx(
        (expected.slope, expected.low_slope, expected.high_slope)
    )


def test_pairs_are_formed_within_a_series_only() -> None:
    # Two models of very different size, neither growing: a slope across them would be enormous.
    small = ([0.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    large = ([1.0, 3.0, 5.0], [900.0, 900.0, 900.0])
    found = theil_sen([small, large])
    assert found is not None
    assert (found.point, found.pairs, found.points) == (0.0, 6, 6)


def test_too_few_points_have_no_interval_even_where_all_are_equal() -> None:
    found = theil_sen([([0.0, 1.0], [5.0, 5.0])])
    assert found is not None
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert theil_sen([([0.0], [5.0])]) is None
    assert theil_sen([]) is None

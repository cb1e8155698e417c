"""An estimate is a median with an honest spread."""

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from swapbench.analysis.estimate import FEW, Estimate, estimate, supported_reliability

seconds = st.floats(0, 1e6, allow_nan=False)


def test_few_values_have_a_median_and_their_least_and_greatest() -> None:
    assert estimate([3.0, 1.0, 2.0]) == Estimate(point=2.0, low=1.0, high=3.0, n=3)


def test_one_value_is_its_own_spread() -> None:
    assert estimate([3.2]) == Estimate(3.2, 3.2, 3.2, 1)


def test_from_thirty_values_on_the_spread_is_the_middle_half() -> None:
    many = estimate(float(value) for value in range(101))
    assert many == Estimate(point=50.0, low=25.0, high=75.0, n=101)


def test_what_was_not_recorded_does_not_count() -> None:
    assert estimate([None, math.nan, 2.0, math.inf]) == Estimate(2.0, 2.0, 2.0, 1)
    assert estimate([None, math.nan]) is None
    assert estimate([]) is None


@given(st.lists(seconds, min_size=1, max_size=3 * FEW))
def test_the_median_lies_within_its_spread_and_the_spread_within_the_values(values: list[float]) -> None:
    found = estimate(values)
    assert found is not None
    assert found.point == pytest.approx(median(values))
    assert min(values) <= found.low <= found.point <= found.high <= max(values)


def test_ten_of_ten_support_74_percent() -> None:
    assert supported_reliability(10, 10) == pytest.approx(0.05**0.1)
    assert round(supported_reliability(10, 10), 2) == 0.74


def test_no_success_supports_nothing() -> None:
    assert supported_reliability(0, 10) == 0


@given(st.integers(1, 400), st.data())
def test_reliability_is_the_clopper_pearson_bound(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(1, n))
    expected = beta.ppf(0.05, successes, n - successes + 1)
    assert supported_reliability(successes, n) == pytest.approx(expected, abs=1e-9)

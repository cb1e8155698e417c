"""An estimate is a median with an honest spread; a slope and its interval are those of scipy."""

import math
import random
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, theilslopes

from swapbench.stats.estimate import (
    FEW,
    Estimate,
    Interval,
    estimate,
    median_interval,
    supported_reliability,
    theil_sen,
    times_as_fast,
)

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


@pytest.mark.parametrize("n", [*range(1, 60), 100, 1001, 3000])
def test_the_interval_leaves_out_what_the_binomial_lets_it(n: int) -> None:
    inside = median_interval(float(value) for value in range(n))
    if n < 6:
        assert inside is None
        return
    assert inside is not None
    cut = int(inside.low)
    assert (inside.high, inside.n) == (n - 1 - cut, n)
    assert inside.confidence == pytest.approx(1 - 2 * binom.cdf(cut, n, 0.5))
    assert inside.confidence >= 0.95 > 1 - 2 * binom.cdf(cut + 1, n, 0.5)


def test_six_values_vouch_for_least_to_greatest_at_97_percent() -> None:
    assert median_interval([5.0, 1.0, None, 4.0, 2.0, math.nan, 6.0, 3.0]) == Interval(
        1.0, 6.0, 1 - 2 / 64, 6
    )


def test_equal_values_are_an_interval_of_no_width() -> None:
    tied = median_interval([2.0] * 10 + [9.0])
    assert tied is not None
    assert (tied.low, tied.high) == (2.0, 2.0)


@pytest.mark.parametrize("n", [6, 7, 10, 12, 29])
def test_the_interval_covers_the_median_of_skewed_times_as_often_as_it_says(n: int) -> None:
    """Times with a long tail, as swaps have: 4000 runs, so that chance moves the share by 0.007 at most."""
    runs = 1.0 + np.random.default_rng(n).exponential(1.0, size=(4000, n))
    truth = 1.0 + math.log(2)
    found = [inside for run in runs if (inside := median_interval(run)) is not None]
    covered = sum(inside.low <= truth <= inside.high for inside in found) / len(runs)
    assert covered == pytest.approx(found[0].confidence, abs=0.012)


def test_coarse_clocks_only_make_the_interval_more_certain() -> None:
    runs = np.random.default_rng(3).integers(1, 4, size=(4000, 10)).astype(float)
    found = [inside for run in runs if (inside := median_interval(run)) is not None]
    assert sum(inside.low <= 2.0 <= inside.high for inside in found) / len(runs) >= found[0].confidence


def test_a_ratio_is_of_one_round_and_rounds_without_either_count_for_nothing() -> None:
    ratio = times_as_fast({0: 1.0, 1: 2.0, 3: 1.0}, {0: 5.0, 1: 6.0, 2: 99.0})
    assert ratio is not None
    assert (ratio.point, ratio.low, ratio.high, ratio.n) == (4.0, 3.0, 5.0, 2)


def test_without_a_common_round_there_is_none() -> None:
    assert times_as_fast({0: 1.0}, {1: 1.0}) is None


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    chance = random.Random(7)
    covered = 0
    for _ in range(2000):
        than = {i: chance.lognormvariate(0.0, 0.5) for i in range(9)}
        ratio = times_as_fast(dict.fromkeys(range(9), 1.0), than)
        assert ratio is not None
        covered += ratio.low <= 1.0 <= ratio.high
    assert covered / 2000 >= 0.94


@given(st.dictionaries(st.integers(0, 30), st.floats(0.01, 100), min_size=1))
def test_stock_is_once_as_fast_as_itself(seconds: dict[int, float]) -> None:
    ratio = times_as_fast(seconds, seconds)
    assert ratio is not None
    assert (ratio.low, ratio.point, ratio.high) == (1.0, 1.0, 1.0)
    assert median([1.0]) == ratio.point


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


def test_many_pairs_have_the_slope_that_few_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy orders them then."""
    rng = random.Random(1)
    series = [
        (sorted(rng.sample(range(1000), n)), [rng.choice((0.1, 0.2, rng.random())) for _ in range(n)])
        for n in (2, 31, 80)
    ]
    few = theil_sen(series)
    monkeypatch.setattr("swapbench.stats.estimate._MANY_PAIRS", 1)
    assert theil_sen(series) == few

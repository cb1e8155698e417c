"""Ratios within rounds, and the interval of their median."""

import random
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from swapbench.stats.paired import times_as_fast


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

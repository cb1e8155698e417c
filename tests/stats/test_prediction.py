"""Where the next run falls: Student's distribution against scipy, and how often the interval is right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from swapbench.stats.prediction import FEWEST_RUNS, predict, student_quantile, student_tail

DAYS = [3.0, 3.1, 2.9, 3.05, 2.95, 3.02, 2.98, 3.1, 2.9, 3.0]


@given(st.floats(-50, 50), st.integers(1, 200))
def test_the_tail_is_student_s(t: float, freedom: int) -> None:
    # scipy itself is 1.4e-11 off near zero; with one degree of freedom there is a closed form.
    assert student_tail(t, freedom) == pytest.approx(student.sf(t, freedom), abs=1e-10)
    if freedom == 1:
        assert student_tail(t, freedom) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 29, 99, 1000])
@pytest.mark.parametrize("share", [0.6, 0.9, 0.95, 0.975, 0.999])
def test_the_quantile_is_student_s(share: float, freedom: int) -> None:
    assert student_quantile(share, freedom) == pytest.approx(student.ppf(share, freedom), rel=1e-9)


def test_of_fewer_than_ten_runs_nothing_is_predicted() -> None:
    assert predict(DAYS[: FEWEST_RUNS - 1], 3.0, 0.05) is None
    prediction = predict(DAYS, 3.0, 0.05)
    assert prediction is not None
    assert prediction.runs == 10
    assert prediction.low < prediction.centre < prediction.high


@pytest.mark.parametrize("runs", [10, 25])
def test_each_bound_holds_for_nineteen_of_twenty_next_runs(runs: int) -> None:
    """Of 2000 histories: chance moves the shares by less than 0.015, three standard errors."""
    logs = np.random.default_rng(runs).normal(1.0, 0.08, size=(2000, runs + 1))
    below = above = 0
    for *history, following in np.exp(logs):
        prediction = predict(history, following, 0.05)
        assert prediction is not None
        below += following <= prediction.high
        above += following >= prediction.low
    assert below / 2000 == pytest.approx(0.95, abs=0.015)
    assert above / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("slower", "alarms"), [(1.0, 0.0), (1.05, 0.05)])
def test_no_more_than_one_alarm_in_twenty_where_nothing_is_slower_than_the_margin(
    slower: float, alarms: float
) -> None:
    logs = np.random.default_rng(3).normal(1.0, 0.01, size=(2000, 11))
    found = [predict(history, last * slower, 0.05) for *history, last in np.exp(logs)]
    raised = sum(prediction is not None and prediction.p <= 0.05 for prediction in found)
    assert raised / 2000 == pytest.approx(alarms, abs=0.015)


def test_a_change_that_it_calls_detectable_is_found_four_times_in_five() -> None:
    """By the normal approximation: of ten runs, a little less often."""
    chance = np.random.default_rng(5)
    found = 0
    for _ in range(1500):
        history = np.exp(chance.normal(1.0, 0.05, size=10)).tolist()
        known = predict(history, 1.0, 0.05)
        assert known is not None
        slower = predict(history, float(np.exp(chance.normal(1.0, 0.05))) * (1 + known.detectable), 0.05)
        assert slower is not None
        found += slower.p <= 0.05
    assert found / 1500 == pytest.approx(0.79, abs=0.04)


def test_runs_that_are_all_alike_leave_no_doubt() -> None:
    same, slower, within = (predict([3.0] * 10, value, 0.05) for value in (3.0, 3.2, 3.1))
    assert same is not None
    assert slower is not None
    assert within is not None
    assert (same.low, same.high) == pytest.approx((3.0, 3.0))
    assert (same.p, slower.p, within.p) == (1.0, 0.0, 1.0)
    assert same.detectable == pytest.approx(0.05)


@given(st.lists(st.floats(0.01, 1000), min_size=10, max_size=30), st.floats(0.01, 1000))
def test_any_history_gives_an_interval_around_its_centre_and_a_chance(
    history: list[float], value: float
) -> None:
    prediction = predict(history, value, 0.05)
    assert prediction is not None
    assert prediction.low <= prediction.centre <= prediction.high
    assert 0 <= prediction.p <= 1
    assert prediction.detectable >= 0.05 - 1e-12

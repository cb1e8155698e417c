"""Changes of level: few where there are none, found where there are; and where the next run falls."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from scipy.stats import t as student

from swapbench.stats.trend import (
    FEWEST_RUNS,
    LEAST_RUNS,
    change_points,
    predict,
    ratio_between,
    statistic,
    student_quantile,
    student_tail,
    trend_of,
)

Values = npt.NDArray[np.float64]


def steady(rng: np.random.Generator, runs: int, skewed: bool = True) -> Values:
    """Runs of about a second: 4 % of noise, and where skewed every twentieth takes 20 to 80 % longer."""
    values = np.exp(rng.normal(0, 0.04, runs))
    if skewed:
        late = rng.random(runs) < 0.05
        values[late] *= 1 + rng.uniform(0.2, 0.8, late.sum())
    return values


def resembling(rng: np.random.Generator, runs: int, correlation: float) -> Values:
    """Noise in which each run takes after the one before."""
    rest = rng.normal(0, 1, runs)
    values = [rest[0] / np.sqrt(1 - correlation**2)]
    for value in rest[1:]:
        values.append(correlation * values[-1] + value)
    return np.exp(0.04 * np.array(values))


def share_with_changes(series: list[Values]) -> float:
    return float(np.mean([bool(change_points(list(values))) for values in series]))


@pytest.mark.parametrize("runs", [10, 17, 40, 150])
@pytest.mark.parametrize("skewed", [False, True])
def test_at_most_one_steady_series_in_a_hundred_shows_a_change(runs: int, skewed: bool) -> None:
    rng = np.random.default_rng(1)
    # With 1 % in truth, 600 series show more than 12 once in forty times.
    assert share_with_changes([steady(rng, runs, skewed) for _ in range(600)]) <= 12 / 600


@pytest.mark.parametrize(("runs", "critical"), [(12, 2.69), (20, 3.07), (50, 3.54), (100, 3.86)])
def test_the_critical_values_are_those_of_shuffled_runs(runs: int, critical: float) -> None:
    rng = np.random.default_rng(2)
    above = np.mean([statistic(list(rng.permutation(runs) + 1.0)) > critical for _ in range(2_000)])
    assert above <= 0.016


def test_where_there_is_one_interval_the_statistic_is_that_of_mann_and_whitney() -> None:
    values = np.random.default_rng(3).random(2 * LEAST_RUNS)
    u = mannwhitneyu(values[:LEAST_RUNS], values[LEAST_RUNS:]).statistic
    deviation = np.sqrt(LEAST_RUNS**2 * (2 * LEAST_RUNS + 1) / 12)
    assert statistic(list(values)) == pytest.approx(abs(u - LEAST_RUNS**2 / 2) / deviation)


@pytest.mark.parametrize(("at", "found_in", "near_in"), [(20, 0.95, 0.85), (30, 0.95, 0.8), (33, 0.75, 0.65)])
def test_fifteen_per_cent_more_are_found_in_forty_runs(at: int, found_in: float, near_in: float) -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        values = steady(rng, 40)
        values[at:] *= 1.15
        found.append(change_points(list(values)))
    assert np.mean([len(places) == 1 for places in found]) >= found_in
    assert np.mean([any(abs(place - at) <= 2 for place in places) for places in found]) >= near_in


def test_what_got_worse_and_better_again_are_two_changes() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(100):
        values = steady(rng, 50, skewed=False)
        values[20:30] *= 1.15
        places = change_points(list(values))
        hits += len(places) == 2 and abs(places[0] - 20) <= 2 and abs(places[1] - 30) <= 2
    assert hits >= 75


@pytest.mark.parametrize("at", [0, 20, 39])
def test_one_outlier_is_no_change_however_far_out(at: int) -> None:
    rng = np.random.default_rng(6)
    series = [steady(rng, 40) for _ in range(200)]
    for values in series:
        values[at] = 1_000.0
    assert share_with_changes(series) <= 0.02


def test_runs_that_take_after_each_other_alarm_as_often_as_is_documented() -> None:
    rng = np.random.default_rng(7)
    shares = {
        correlation: share_with_changes([resembling(rng, 40, correlation) for _ in range(300)])
        for correlation in (0.3, 0.5)
    }
    assert 0.02 < shares[0.3] < 0.12
    assert 0.12 < shares[0.5] < 0.35


@pytest.mark.parametrize("runs", [1, 2, 9])
def test_too_few_runs_have_one_level(runs: int) -> None:
    trend = trend_of([1.0] * (runs - 1) + [9.0])
    assert trend.changes == ()
    assert len(trend.levels) == 1


@pytest.mark.parametrize("runs", [10, 40, 500])
def test_equal_runs_show_no_change(runs: int) -> None:
    trend = trend_of([3.0] * runs)
    assert (trend.changes, trend.spread) == ((), 0.0)
    assert list(trend.levels) == pytest.approx([3.0])
    assert trend.drift is not None
    assert trend.drift.point == 0


def test_phases_that_took_no_time_at_all_break_nothing() -> None:
    trend = trend_of([0.0] * 20 + [0.5] * 20)
    assert [change.at for change in trend.changes] == [20]
    assert list(trend.levels) == pytest.approx([1e-9, 0.5])


def test_a_change_has_its_ratio_and_the_levels_around_it() -> None:
    values = steady(np.random.default_rng(8), 60, skewed=False)
    values[40:] *= 1.2
    trend = trend_of(list(3 * values))
    (change,) = trend.changes
    assert abs(change.at - 40) <= 1
    assert change.ratio.low < 1.2 < change.ratio.high
    assert list(trend.levels) == pytest.approx([3, 3.6], rel=0.02)
    assert trend.spread == pytest.approx(0.04, abs=0.015)


@pytest.mark.parametrize(("before", "after"), [(5, 5), (5, 35), (20, 20)])
def test_the_interval_of_a_ratio_covers_it(before: int, after: int) -> None:
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(400):
        ratio = ratio_between(np.log(steady(rng, before)), np.log(1.15 * steady(rng, after)))
        covered += ratio.low <= 1.15 <= ratio.high
    assert covered / 400 >= 0.93


def test_a_drift_is_told_apart_from_steps() -> None:
    rng = np.random.default_rng(10)
    values = steady(rng, 60, skewed=False) * np.exp(0.0005 * np.arange(60))
    values[30:] *= 1.5
    drift = trend_of(list(values)).drift
    assert drift is not None
    assert drift.low < np.expm1(0.05) < drift.high
    assert drift.high < 0.5


def test_ten_thousand_runs_are_told_as_few_are() -> None:
    values = steady(np.random.default_rng(11), 10_000)
    values[3_000:] *= 1.1
    (change,) = trend_of(list(values)).changes
    assert abs(change.at - 3_000) <= 5
    assert change.ratio.point == pytest.approx(1.1, abs=0.01)


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

"""Swaps that stand out are flagged, with the phase that made them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.findings.outliers import Outlier, find_outliers
from swapbench.findings.swaps import Swap
from tests.findings.rounds import measured, rounds

USUAL = [1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.03]


def with_phases(swap: Swap, **seconds: float) -> Swap:
    return replace(swap, phases={phase: measured(value) for phase, value in seconds.items()})


def test_a_swap_that_took_twice_as_long_is_flagged_with_the_phase_that_did_it() -> None:
    swaps = [with_phases(swap, evict=0.2, load=0.8) for swap in rounds({"up": [*USUAL, 2.0]})]
    swaps[-1] = with_phases(swaps[-1], evict=0.1, load=1.9)
    (found,) = find_outliers(swaps)
    assert (found.scenario, found.round, found.seconds, found.first) == ("up", 8, 2.0, False)
    assert found.times == pytest.approx(2.0 / found.median_s)
    assert found.phase == "load"
    assert found.phase_excess_s == pytest.approx(1.1)


def test_a_swap_that_was_much_too_fast_is_flagged_too() -> None:
    swaps = [with_phases(swap, evict=0.2, load=0.8) for swap in rounds({"up": [*USUAL, 0.3]})]
    swaps[-1] = with_phases(swaps[-1], evict=0.25, load=0.05)
    (found,) = find_outliers(swaps)
    assert found.times < 0.31
    assert found.phase == "load"
    assert found.phase_excess_s == pytest.approx(-0.75)


def test_a_late_first_token_is_a_reason_where_it_is_in_the_headline() -> None:
    swaps = [
        replace(swap, figures={"total_s": 1.0, "first_token_s": 0.1, "to_first_token_s": 1.1})
        for swap in rounds({"up": [1.0] * 8})
    ]
    late = {"total_s": 1.0, "first_token_s": 2.1, "to_first_token_s": 3.1}
    swaps[-1] = replace(swaps[-1], figures=late)
    (found,) = find_outliers(swaps)
    assert found.phase == "first_token"
    assert found.phase_excess_s == pytest.approx(2.0)


def test_time_in_no_phase_is_a_reason_too() -> None:
    swaps = [replace(s, figures={"total_s": 1.0, "unattributed_s": 0.0}) for s in rounds({"up": [1.0] * 8})]
    swaps[-1] = replace(swaps[0], round=8, warmup=False, figures={"total_s": 3.0, "unattributed_s": 2.0})
    assert [outlier.phase for outlier in find_outliers(swaps)] == ["unattributed"]


def test_the_first_swap_of_a_process_is_said_to_be_one() -> None:
    (found,) = find_outliers(rounds({"up": [3.0, *USUAL]}, warm=False))
    assert (found.round, found.first) == (0, True)


def test_five_swaps_are_too_few_to_say_which_is_the_odd_one() -> None:
    assert find_outliers(rounds({"up": [1.0, 1.0, 1.0, 1.0, 9.0]})) == ()
    assert len(find_outliers(rounds({"up": [1.0, 1.0, 1.0, 1.0, 1.0, 9.0]}))) == 1


def test_equal_swaps_flag_neither_each_other_nor_what_is_within_a_tenth() -> None:
    assert find_outliers(rounds({"up": [1.0] * 10})) == ()
    assert find_outliers(rounds({"up": [1.0] * 9 + [1.09]})) == ()


def test_what_is_not_counted_is_neither_flagged_nor_compared_with() -> None:
    swaps = rounds({"up": [*USUAL, 9.0]})
    swaps[-1] = replace(swaps[-1], valid=False)
    assert find_outliers(swaps) == ()


def test_the_farthest_out_comes_first() -> None:
    found = find_outliers(rounds({"up": [*USUAL, 2.0], "down": [*USUAL, 5.0]}))
    assert [outlier.scenario for outlier in found] == ["down", "up"]


@given(st.lists(st.floats(1e-6, 1e3), min_size=6, max_size=30))
def test_never_as_many_as_half_of_the_swaps_stand_out(times: list[float]) -> None:
    assert 2 * len(find_outliers(rounds({"up": times}))) < len(times)


# What the docstring and docs/measuring.md promise; 0.004 is more than chance moves a share of so many.


def flagged(times: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[tuple[Outlier, ...]]:
    return [find_outliers(rounds({"up": list(row)}, warm=False)) for row in times]


@pytest.mark.parametrize(
    ("n", "of_normal", "of_long_tails"), [(6, 0.012, 0.028), (10, 0.0044, 0.019), (20, 0.001, 0.011)]
)
def test_of_swaps_with_nothing_wrong_few_are_flagged(n: int, of_normal: float, of_long_tails: float) -> None:
    chance = np.random.default_rng(n)
    normal = flagged(np.exp(chance.normal(0, 0.1, (3000, n))))
    tailed = flagged(1 + chance.exponential(0.2, (3000, n)))
    assert sum(map(len, normal)) / (3000 * n) == pytest.approx(of_normal, abs=0.004)
    assert sum(map(len, tailed)) / (3000 * n) == pytest.approx(of_long_tails, abs=0.004)


@pytest.mark.parametrize(("n", "rate"), [(6, 0.81), (10, 0.88), (20, 0.95)])
def test_a_swap_half_as_long_again_is_mostly_found_where_others_differ_by_5_percent(
    n: int, rate: float
) -> None:
    times = np.exp(np.random.default_rng(n).normal(0, 0.05, (6000, n)))
    times[:, 2] *= 1.5
    found = sum(any(outlier.round == 2 for outlier in run) for run in flagged(times)) / 6000
    assert found == pytest.approx(rate, abs=0.02)

"""Drift within a run: found where it is, hardly ever where it isn't, and how large a one could hide."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from swapbench.findings.drift import Drift, drift_advice, find_drift
from tests.findings.rounds import rounds

Times = npt.NDArray[np.float64]


def test_a_steady_climb_is_so_many_per_cent_from_the_first_round_to_the_last() -> None:
    climb = [1.2 ** (number / 9) for number in range(10)]
    found = find_drift(rounds({"up": climb, "down": [3 * seconds for seconds in climb]}))
    assert (found.outcome, found.rounds) == ("slower", 10)
    assert found.change == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.2)


def test_a_run_that_gets_faster_says_so() -> None:
    found = find_drift(rounds({"up": [2.0, 1.8, 1.6, 1.4, 1.2, 1.0]}))
    assert found.outcome == "faster"
    assert found.change == pytest.approx(-0.5, abs=0.02)


def test_equal_swaps_have_no_drift_and_hide_none() -> None:
    assert find_drift(rounds({"up": [1.0] * 6})) == Drift("none found", 0.0, 0.0, 0.0, 6)


@pytest.mark.parametrize("n", range(5))
def test_up_to_four_rounds_are_too_few(n: int) -> None:
    assert find_drift(rounds({"up": [1.0 + number for number in range(n)]})).outcome == "not tested"


def test_five_rounds_find_what_never_turns_back() -> None:
    assert find_drift(rounds({"up": [1.0, 1.1, 1.2, 1.3, 1.4]})).outcome == "slower"


def test_the_first_swap_of_a_process_is_no_drift() -> None:
    found = find_drift(rounds({"up": [9.0, 1.0, 1.1, 1.0, 1.1, 1.0]}, warm=False))
    assert (found.outcome, found.rounds) == ("none found", 5)


def test_another_worker_that_is_slower_throughout_is_no_drift() -> None:
    level = {"up": [1.0, 1.01, 1.0, 1.01, 1.0, 1.01]}
    first, second = rounds(level), rounds({"up": [2 * seconds for seconds in level["up"]]}, worker=1)
    after = [replace(swap, index=swap.index + 10, round=swap.round + 6) for swap in second]
    assert find_drift([*first, *after]).outcome == "none found"


def test_swaps_that_are_not_counted_have_no_say() -> None:
    swaps = [replace(swap, valid=False) for swap in rounds({"up": [1.0, 1.1, 1.2, 1.3, 1.4]})]
    assert find_drift(swaps) == Drift("not tested", None, None, None, 0)


def test_advice_comes_with_a_drift_that_matters_only() -> None:
    climb = {"up": [1.0, 1.1, 1.2, 1.3, 1.4]}
    (slower,) = drift_advice(find_drift(rounds(climb)))
    assert slower.startswith("swaps get 40 % slower while the run goes on: the machine heats up")
    (faster,) = drift_advice(find_drift(rounds({"up": climb["up"][::-1]})))
    assert faster.startswith("swaps get 28 % faster while the run goes on")
    assert list(drift_advice(find_drift(rounds({"up": [1.0, 1.001, 1.002, 1.003, 1.004]})))) == []
    assert list(drift_advice(find_drift(rounds({"up": [1.0] * 5})))) == []


# Simulations of three scenarios whose swaps differ by 5 %, and what docs/measuring.md says of them.

DRAWS = 2000


def found(n: int, times: Callable[[np.random.Generator, int], Times]) -> float:
    """The share of runs in which a drift is found; `times` gives three rows of n."""
    chance = np.random.default_rng(n)
    names = ("up", "across", "down")
    runs = (dict(zip(names, map(list, times(chance, n)), strict=True)) for _ in range(DRAWS))
    return sum(find_drift(rounds(run)).outcome in ("slower", "faster") for run in runs) / DRAWS


def noise(chance: np.random.Generator, n: int) -> Times:
    return np.exp(chance.normal(0, 0.05, (3, n)))


def noise_of_whole_rounds(chance: np.random.Generator, n: int) -> Times:
    """Half of it common to a round's swaps: pooled slopes find a drift in 11 to 15 % of these runs."""
    return np.exp(chance.normal(0, 0.035, (3, n)) + chance.normal(0, 0.035, n))


def ramp(chance: np.random.Generator, n: int) -> Times:
    return noise(chance, n) * 1.1 ** np.linspace(0, 1, n)


@pytest.mark.parametrize("times", [noise, noise_of_whole_rounds])
@pytest.mark.parametrize(("n", "rate"), [(5, 0.011), (10, 0.05), (20, 0.05)])
def test_noise_is_taken_for_drift_once_in_twenty_runs_at_most(
    n: int, rate: float, times: Callable[[np.random.Generator, int], Times]
) -> None:
    assert found(n, times) <= rate + 0.015


@pytest.mark.parametrize(("n", "rate"), [(5, 0.10), (10, 0.635), (20, 0.93)])
def test_a_tenth_is_found_in_twenty_rounds_mostly_in_five_hardly(n: int, rate: float) -> None:
    assert found(n, ramp) == pytest.approx(rate, abs=0.03)


def test_the_interval_holds_the_true_drift_as_often_as_it_says() -> None:
    chance = np.random.default_rng(8)
    held = 0
    for _ in range(DRAWS):
        drift = find_drift(rounds(dict(zip("abc", map(list, ramp(chance, 12)), strict=True))))
        assert drift.low is not None
        assert drift.high is not None
        held += drift.low <= 0.1 <= drift.high
    assert held / DRAWS >= 0.935

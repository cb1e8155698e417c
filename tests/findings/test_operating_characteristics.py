"""How often a comparison cries wolf, and how often it finds what is there, on simulated machines.

What was measured is of 20,000 runs each (SWAPBENCH_RUNS=20000); the tests draw fewer.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Final, Literal

import numpy as np
import pytest

from swapbench.compare.change import Change, Verdict, paired_change, unpaired_change
from swapbench.stats.ranks import holm
from swapbench.wire.plan import Arm, Turn, paired_turns
from tests.findings.noise import BUSY_RUNNER, SHARED_RUNNER, Noise
from tests.scripted import scripted

RUNS: Final = int(os.environ.get("SWAPBENCH_RUNS", "1000"))
MARGIN: Final = 0.05
PAIRS: Final = 10
SWAP_S: Final = 3.0

# Three standard errors of a share of 5 % among so many runs.
SIMULATION_ERROR: Final = 3 * math.sqrt(0.05 * 0.95 / RUNS)

Order = Literal["abba", "random", "blocks"]

# Of each arm, what each round took.
Sides = tuple[dict[int, float], dict[int, float]]


@cache
def order_of_turns(order: Order, pairs: int, seed: int) -> tuple[Turn, ...]:
    """As `swapbench ab` plans them; blocks are what it does not do: all of A, then all of B."""
    arms = [Arm(name, scripted(rounds=pairs), {}, "python") for name in ("a", "b")]
    turns = paired_turns(arms, "random" if order == "random" else "abba", seed)
    return tuple(sorted(turns, key=lambda turn: turn.arm)) if order == "blocks" else turns


def runs(
    times: float,
    noise: Noise = SHARED_RUNNER,
    *,
    order: Order = "abba",
    pairs: int = PAIRS,
    scenarios: int = 1,
    warmup: int = 0,
) -> Iterator[tuple[Sides, ...]]:
    """Runs in which B takes so many times as long as A, in each of several scenarios.

    Rounds of `warmup` come before the pairs, and count for nothing.
    """
    rng = np.random.default_rng([int(1000 * times), pairs, scenarios])
    drawn = SWAP_S * noise.draw(rng, RUNS, 2 * (warmup + pairs) * scenarios)
    for number, seconds in enumerate(drawn):
        found: tuple[Sides, ...] = tuple(({}, {}) for _ in range(scenarios))
        took = iter(seconds)
        for turn in order_of_turns(order, warmup + pairs, number % 100):
            for a, b in found:
                if turn.arm == "a":
                    a[turn.rounds[0]] = next(took)
                else:
                    b[turn.rounds[0]] = times * next(took)
        yield tuple((counted(a, warmup), counted(b, warmup)) for a, b in found)


def counted(side: dict[int, float], warmup: int) -> dict[int, float]:
    return {number: seconds for number, seconds in side.items() if number >= warmup}


def compared(sides: Sides) -> Change:
    return paired_change("to first token", *sides, MARGIN)


def shares(changes: Iterable[Change]) -> dict[Verdict, float]:
    """How often each verdict is given."""
    given = Counter(change.verdict for change in changes)
    return {verdict: given[verdict] / given.total() for verdict in Verdict}


@cache
def verdicts(
    times: float, noise: Noise = SHARED_RUNNER, order: Order = "abba", pairs: int = PAIRS
) -> dict[Verdict, float]:
    return shares(compared(sides) for (sides,) in runs(times, noise, order=order, pairs=pairs))


either_order = pytest.mark.parametrize("order", ["abba", "random"])
either_runner = pytest.mark.parametrize("noise", [SHARED_RUNNER, BUSY_RUNNER], ids=["shared", "busy"])


@either_order
@either_runner
def test_of_a_against_itself_hardly_any_run_is_called_slower_or_faster(noise: Noise, order: Order) -> None:
    """Measured: 0.01 % slower, 0.01 to 0.03 % faster."""
    found = verdicts(1.0, noise, order)
    assert found[Verdict.SLOWER] <= 0.01
    assert found[Verdict.FASTER] <= 0.01


def test_of_a_against_itself_ten_pairs_show_every_other_time_that_nothing_hides() -> None:
    """Measured: 50 % no worse, 50 % inconclusive: a margin of 5 % is as narrow as such noise lets it be."""
    assert 0.4 <= verdicts(1.0)[Verdict.NO_WORSE] <= 0.6


@either_order
@either_runner
def test_of_15_percent_four_in_five_are_found(noise: Noise, order: Order) -> None:
    """Measured: 82.1 and 82.1 % in A B B A, 81.1 and 81.1 % in random order."""
    assert verdicts(1.15, noise, order)[Verdict.SLOWER] >= (0.8 if order == "abba" else 0.79)


@either_order
def test_of_25_percent_nine_in_ten_are_found(order: Order) -> None:
    """Measured: 94.3 % in A B B A, 94.1 % in random order; on the busy runner as many."""
    assert verdicts(1.25, SHARED_RUNNER, order)[Verdict.SLOWER] >= 0.9


@either_order
def test_exactly_at_the_margin_no_more_than_one_run_in_twenty_alarms(order: Order) -> None:
    """Measured: 4.5 % in A B B A, 4.0 % in random order. The ranks of ten can say 4.2 %, or 5.3 %."""
    assert 0.02 <= verdicts(1 + MARGIN, BUSY_RUNNER, order)[Verdict.SLOWER] <= 0.05 + SIMULATION_ERROR


def test_what_became_faster_by_15_percent_is_found_as_often() -> None:
    """Measured: 81.2 %."""
    assert verdicts(1 / 1.15)[Verdict.FASTER] >= 0.79


@pytest.mark.parametrize(("noise", "least"), [(SHARED_RUNNER, 0.1), (BUSY_RUNNER, 0.15)])
def test_all_of_a_and_then_all_of_b_cries_wolf_where_taking_turns_does_not(
    noise: Noise, least: float
) -> None:
    """Measured: 14.3 and 19.2 %, against 0.01 %."""
    assert verdicts(1.0, noise, "blocks")[Verdict.SLOWER] >= least
    assert verdicts(1.0, noise)[Verdict.SLOWER] <= 0.01


def test_a_neighbour_that_comes_half_way_is_what_blocks_take_for_b() -> None:
    """Measured: every run, against none."""
    assert shares(compared(stepped("blocks", rng)) for rng in generators())[Verdict.SLOWER] >= 0.9
    assert shares(compared(stepped("abba", rng)) for rng in generators())[Verdict.SLOWER] <= 0.01


def generators() -> Iterator[np.random.Generator]:
    return (np.random.default_rng(seed) for seed in range(RUNS // 4))


def stepped(order: Order, rng: np.random.Generator) -> Sides:
    """Everything takes 30 % longer from the eleventh swap on; the machine is calm otherwise."""
    calm = replace(SHARED_RUNNER, spike_chance=0.0, state_sd=0.0, ramp=0.0)
    seconds = SWAP_S * calm.draw(rng, 1, 2 * PAIRS)[0]
    seconds[PAIRS:] *= 1.3
    sides: Sides = ({}, {})
    for turn, took in zip(order_of_turns(order, PAIRS, 0), seconds, strict=True):
        sides[turn.arm == "b"][turn.rounds[0]] = took
    return sides


def test_all_of_a_and_then_all_of_b_hides_what_became_faster() -> None:
    """Measured: of 15 %, 28 % are found where taking turns finds 81 %."""
    assert verdicts(1 / 1.15, order="blocks")[Verdict.FASTER] <= 0.4


def test_six_pairs_cry_wolf_no_more_often_but_find_less() -> None:
    """Measured: 0.1 % false alarms, 4.9 % at the margin; 69 % of 15 % are found, 82 % of 25 %."""
    assert verdicts(1.0, pairs=6)[Verdict.SLOWER] <= 0.01
    assert verdicts(1 + MARGIN, pairs=6)[Verdict.SLOWER] <= 0.05 + SIMULATION_ERROR
    assert 0.6 <= verdicts(1.15, pairs=6)[Verdict.SLOWER] <= 0.8
    assert 0.75 <= verdicts(1.25, pairs=6)[Verdict.SLOWER] <= 0.9


@cache
def adjusted(times: float, warmup: int = 0) -> tuple[tuple[float, ...], ...]:
    """Of every run of three scenarios, their p-values by Holm."""
    drawn = runs(times, scenarios=3, warmup=warmup)
    changes = ([compared(sides) for sides in found] for found in drawn)
    return tuple(holm([change.p for change in found if change.p is not None]) for found in changes)


def alarming(found: tuple[tuple[float, ...], ...]) -> float:
    return float(np.mean([min(p) <= 0.05 for p in found]))


def test_of_three_scenarios_together_hardly_any_run_of_a_against_itself_alarms() -> None:
    """Measured: one run in 20,000."""
    assert alarming(adjusted(1.0)) <= 0.01


def test_three_scenarios_at_the_margin_alarm_in_no_more_than_one_run_in_twenty() -> None:
    """Measured: 3.9 % with a round of warming up, 5.3 % without.

    A machine warms up most in the first round, where A has its turn first: no later one makes up for it.
    """
    assert alarming(adjusted(1 + MARGIN, warmup=1)) <= 0.05 + SIMULATION_ERROR
    assert alarming(adjusted(1 + MARGIN)) <= 0.055 + SIMULATION_ERROR


def test_of_three_scenarios_15_percent_slower_most_runs_alarm() -> None:
    """Measured: 93.8 % alarm for at least one of the three, 47 % for all of them."""
    assert alarming(adjusted(1.15)) >= 0.8


def test_a_verdict_of_slower_is_a_p_of_no_more_than_a_twentieth() -> None:
    for (sides,) in runs(1.1):
        change = compared(sides)
        assert change.p is not None
        assert (change.verdict is Verdict.SLOWER) == (change.p <= 0.05)


def another_day(noise: Noise) -> Iterator[Change]:
    """A from an earlier day against A of today: a run each, on a machine that is not quite the same."""
    rng = np.random.default_rng(1)
    for a, b in zip(noise.draw(rng, RUNS, PAIRS), noise.draw(rng, RUNS, PAIRS), strict=True):
        yield unpaired_change("to first token", dict(enumerate(a)), dict(enumerate(b)), MARGIN)


@pytest.mark.parametrize(
    ("noise", "day_sd", "least"),
    [(SHARED_RUNNER, 0.05, 0.08), (BUSY_RUNNER, 0.05, 0.14), (SHARED_RUNNER, 0.1, 0.2)],
)
def test_against_a_run_of_another_day_one_in_ten_and_more_cry_wolf(
    noise: Noise, day_sd: float, least: float
) -> None:
    """Measured: 10.1, 16.8 and 23.9 % are called slower, and 11.0, 17.4 and 24.6 % faster."""
    found = shares(another_day(replace(noise, day_sd=day_sd)))
    assert found[Verdict.SLOWER] >= least
    assert found[Verdict.FASTER] >= least


def test_it_is_the_days_that_differ_and_not_the_test_that_is_wrong() -> None:
    """Measured: none in 20,000, on a machine that is the same in both runs."""
    assert shares(another_day(replace(SHARED_RUNNER, state_sd=0.0)))[Verdict.SLOWER] <= 0.01

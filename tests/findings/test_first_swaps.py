"""First swaps of a process stand beside later ones, where there are both."""

from dataclasses import replace

from swapbench.findings.first_swaps import first_swaps
from swapbench.stats.estimate import Estimate
from tests.findings.rounds import rounds

LATER = [1.0, 1.02, 0.98, 1.01, 0.99]


def test_without_warm_up_the_first_round_is_a_cell_of_its_own() -> None:
    (found,) = first_swaps(rounds({"up": [2.0, *LATER]}, warm=False))
    assert (found.scenario, found.times, found.differ) == ("up", 2.0, True)
    assert found.first == Estimate(2.0, 2.0, 2.0, 1)
    assert found.later == Estimate(1.0, 0.98, 1.02, 5)


def test_after_a_warm_up_round_there_is_nothing_to_compare() -> None:
    assert first_swaps(rounds({"up": [2.0, *LATER]})) == ()


def test_swaps_that_are_all_first_ones_are_alike() -> None:
    swaps = [replace(swap, worker=swap.index) for swap in rounds({"up": LATER}, warm=False)]
    assert first_swaps(swaps) == ()


def test_a_worker_that_goes_on_has_first_swaps_again() -> None:
    before = rounds({"up": LATER})
    after = [
        replace(swap, index=swap.index + 10, round=swap.round + 6)
        for swap in rounds({"up": [3.0, 1.0]}, warm=False, worker=1)
    ]
    (found,) = first_swaps([*before, *after])
    assert (found.first.n, found.first.point, found.later.n) == (1, 3.0, 6)


def test_a_refused_swap_is_not_the_first() -> None:
    swaps = rounds({"up": [0.1, 2.0, *LATER]}, warm=False)
    swaps[0] = replace(swaps[0], status="refused")
    (found,) = first_swaps(swaps)
    assert found.first.point == 2.0


def test_they_differ_visibly_only_outside_of_five_later_ones_and_by_a_tenth() -> None:
    def differ(*times: float) -> bool:
        (found,) = first_swaps(rounds({"up": times}, warm=False))
        return found.differ

    assert differ(1.2, *LATER)
    assert differ(0.8, *LATER)
    assert not differ(1.05, *LATER)
    assert not differ(1.2, *LATER[:4])
    assert not differ(1.2, *LATER, 1.3)

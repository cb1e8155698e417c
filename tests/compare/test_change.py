"""One figure under B against the same under A: what is paired, and what is said of it."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.compare.change import FEWEST, ByRound, Change, Unit, Verdict, paired_change, unpaired_change
from swapbench.stats.estimate import Estimate

MARGIN = 0.05

# A ratio for each of ten rounds; none of them is like another, and none lies at the margin.
SPREAD = (-0.021, -0.013, -0.008, -0.004, -0.001, 0.002, 0.005, 0.009, 0.014, 0.022)


def by_round(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def beside(times: float, widened: float = 1.0, n: int = 10) -> tuple[dict[int, float], dict[int, float]]:
    """A drifts from 3 to 6 s; B takes so many times as long, give or take."""
    a = [3.0 + number / 3 for number in range(n)]
    b = [x * times * (1 + widened * by) for x, by in zip(a, SPREAD, strict=False)]
    return by_round(*a), by_round(*b)


def compared(a: ByRound, b: ByRound, unit: Unit = "s", margin: float = MARGIN) -> Change:
    return paired_change("load", a, b, margin, unit)


@pytest.mark.parametrize(
    ("times", "widened", "seconds", "size"),
    [
        (1.2, 1, Verdict.SLOWER, Verdict.MORE),
        (1 / 1.2, 1, Verdict.FASTER, Verdict.LESS),
        (1.0, 1, Verdict.NO_WORSE, Verdict.NO_WORSE),
        # Faster, but not by more than the margin for sure; certainly no worse.
        (0.95, 1, Verdict.NO_WORSE, Verdict.NO_WORSE),
        # The interval holds the margin.
        (1.05, 1, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        # Nothing seen, but much could hide.
        (1.0, 10, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        # 8 % seen, 2 % sure.
        (1.08, 4, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_is_what_interval_and_margin_say(
    times: float, widened: float, seconds: Verdict, size: Verdict
) -> None:
    a, b = beside(times, widened)
    assert compared(a, b).verdict is seconds
    assert compared(a, b, "bytes").verdict is size


def test_a_wider_margin_forgives_more() -> None:
    a, b = beside(1.2)
    verdicts = [compared(a, b, margin=margin).verdict for margin in (0.05, 0.2, 0.3)]
    assert verdicts == [Verdict.SLOWER, Verdict.INCONCLUSIVE, Verdict.NO_WORSE]


def test_faster_is_as_far_below_as_slower_is_above() -> None:
    """A third slower and a quarter less time are the same distance, seen from either side."""
    a, b = beside(1.4)
    there, back = compared(a, b, margin=1 / 3), compared(b, a, margin=1 / 3)
    assert (there.verdict, back.verdict) == (Verdict.SLOWER, Verdict.FASTER)
    assert there.ratio is not None
    assert back.ratio is not None
    assert back.ratio.point == pytest.approx(1 / there.ratio.point)
    assert (back.ratio.low, back.ratio.high) == pytest.approx((1 / there.ratio.high, 1 / there.ratio.low))


def test_ratio_p_and_what_may_hide_go_with_the_verdict() -> None:
    change = compared(*beside(1.2))
    assert change.ratio is not None
    assert change.most is not None
    assert change.ratio.low < change.ratio.point < change.ratio.high
    assert change.ratio.point == pytest.approx(1.2, rel=0.01)
    assert change.most == change.ratio.high - 1
    assert change.p == 1 / 1024
    assert (change.figure, change.unit) == ("load", "s")


def test_p_is_of_more_than_the_margin_not_of_any_difference() -> None:
    p = compared(*beside(1.03)).p
    assert p is not None
    assert p > 0.99


def test_drift_that_meets_both_sides_is_no_difference() -> None:
    """A alone goes from 3 to 6 s; as two samples the two can't be told apart, as pairs they can."""
    a, b = beside(1.2)
    assert compared(a, b).verdict is Verdict.SLOWER
    assert unpaired_change("load", a, b, MARGIN).verdict is Verdict.INCONCLUSIVE


def test_pairs_are_formed_by_round_and_not_by_place() -> None:
    a, b = beside(1.2)
    backwards = dict(reversed(b.items()))
    assert compared(a, backwards) == compared(a, b)


def test_rounds_that_only_one_side_has_count_for_neither() -> None:
    a, b = beside(1.2)
    with_more = (a | {10: 99.0, 12: 99.0}, b | {11: 0.01})
    assert compared(*with_more) == compared(a, b)
    lacking = {number: seconds for number, seconds in b.items() if number not in (3, 7)}
    change = compared(a, lacking)
    assert change.ratio is not None
    assert change.a is not None
    assert change.b is not None
    assert (change.ratio.n, change.a.n, change.b.n) == (8, 8, 8)


def test_estimates_are_of_the_rounds_that_are_compared() -> None:
    a, b = by_round(1, 2, 3, 4, 5, 6, 7), by_round(2, 4, 6, 8, 10, 12)
    change = compared(a, b)
    assert (change.a, change.b) == (Estimate(3.5, 1, 6, 6), Estimate(7, 2, 12, 6))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_what_has_no_ratio_is_left_out(value: float) -> None:
    a, b = beside(1.2)
    change = compared(a | {10: value, 11: 3.0}, b | {10: 3.0, 11: value})
    assert change == compared(a, b)
    unpaired = unpaired_change("load", a | {10: value}, b | {11: value}, MARGIN)
    assert unpaired == unpaired_change("load", a, b, MARGIN)


@pytest.mark.parametrize("judge", [paired_change, unpaired_change])
@pytest.mark.parametrize(
    ("a", "b"),
    [({}, {}), ({0: 1.0}, {}), ({}, {0: 1.0}), ({0: 0.0, 1: 0.0}, {0: 0.0, 1: 0.0})],
)
def test_where_there_is_no_pair_nothing_is_measured(
    judge: Callable[[str, ByRound, ByRound, float], Change], a: ByRound, b: ByRound
) -> None:
    change = judge("drain", a, b, MARGIN)
    assert change.verdict is Verdict.NOT_MEASURED
    assert (change.ratio, change.most, change.p) == (None, None, None)


def test_rounds_apart_are_no_pairs() -> None:
    assert compared({0: 1.0, 2: 1.0}, {1: 1.0, 3: 1.0}).verdict is Verdict.NOT_MEASURED


@given(st.integers(1, FEWEST - 1), st.sampled_from([0.001, 0.5, 1.0, 2.0, 1000.0]))
def test_fewer_than_six_pairs_are_inconclusive_whatever_the_effect(n: int, times: float) -> None:
    a, b = beside(times, n=n)
    assert compared(a, b).verdict is Verdict.INCONCLUSIVE
    assert unpaired_change("load", a, b, MARGIN).verdict is Verdict.INCONCLUSIVE


def test_six_pairs_can_be_conclusive() -> None:
    assert compared(*beside(1.5, n=6)).verdict is Verdict.SLOWER
    assert compared(*beside(0.5, n=6)).verdict is Verdict.FASTER
    assert compared(*beside(1.0, n=6)).verdict is Verdict.NO_WORSE


def test_six_of_one_against_many_of_the_other_count_as_six_but_five_do_not() -> None:
    many = by_round(*(1 + by for by in SPREAD))
    few = {number: 1.5 * seconds for number, seconds in many.items() if number < 6}
    assert unpaired_change("load", many, few, MARGIN).verdict is Verdict.SLOWER
    assert unpaired_change("load", few, many, MARGIN).verdict is Verdict.FASTER
    del few[0]
    assert unpaired_change("load", many, few, MARGIN).verdict is Verdict.INCONCLUSIVE


def test_what_so_few_can_not_bound_has_no_most() -> None:
    change = compared(*beside(1.0, n=4))
    assert change.ratio is not None
    assert (change.ratio.low, change.ratio.high) == (0.0, math.inf)
    assert change.most is None


@given(st.floats(0.001, 1e12), st.sampled_from([0.01, 0.05, 0.1, 0.25, 1.0]))
def test_what_lies_at_the_margin_has_not_passed_it(size: float, margin: float) -> None:
    """Figures that are the same in every round, as bytes are, and as a script's seconds."""
    a = by_round(*(size * (1 + number) for number in range(10)))
    worse = {number: value * (1 + margin) for number, value in a.items()}
    better = {number: value / (1 + margin) for number, value in a.items()}
    assert compared(a, worse, margin=margin).verdict is Verdict.NO_WORSE
    assert compared(a, worse, margin=margin).p == 1.0
    assert compared(a, better, margin=margin).verdict is Verdict.NO_WORSE


def test_a_hair_beyond_the_margin_in_every_round_has_passed_it() -> None:
    a = by_round(*range(1, 11))
    worse = {number: value * 1.0501 for number, value in a.items()}
    change = compared(a, worse)
    assert (change.verdict, change.p) == (Verdict.SLOWER, 1 / 1024)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=6, max_size=12))
def test_slower_one_way_is_faster_the_other_way(pairs: list[tuple[float, float]]) -> None:
    a, b = by_round(*(x for x, _ in pairs)), by_round(*(y for _, y in pairs))
    mirrored = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}
    for judge in (paired_change, unpaired_change):
        there, back = judge("load", a, b, MARGIN).verdict, judge("load", b, a, MARGIN).verdict
        assert (there in mirrored) == (back in mirrored)
        assert back is mirrored.get(there, back)


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=10),
    st.sampled_from([1e-3, 1024.0, 1e9]),
)
def test_neither_verdict_nor_ratio_knows_the_unit(pairs: list[tuple[float, float]], unit: float) -> None:
    a, b = by_round(*(x for x, _ in pairs)), by_round(*(y for _, y in pairs))
    for judge in (paired_change, unpaired_change):
        change = judge("load", a, b, MARGIN)
        a_in, b_in = ({n: unit * v for n, v in side.items()} for side in (a, b))
        other = judge("load", a_in, b_in, MARGIN)
        assert other.verdict is change.verdict
        assert other.ratio is not None
        assert change.ratio is not None
        assert other.ratio.point == pytest.approx(change.ratio.point)


def test_what_only_one_side_shows_is_shown_and_not_compared() -> None:
    change = paired_change("load", {}, {0: 1.0, 1: 3.0}, 0.05)
    assert change.a is None
    assert change.b is not None
    assert (change.b.point, change.verdict) == (2.0, Verdict.NOT_MEASURED)

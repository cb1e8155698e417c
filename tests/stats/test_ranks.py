"""Rank statistics: against scipy and against counting every case, and the bounds by their coverage."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import combinations
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swapbench.stats.ranks import (
    Shift,
    fewest_pairs,
    holm,
    paired_shift,
    rank_sum_p,
    signed_rank_p,
    two_sample_shift,
)

Array = npt.NDArray[np.float64]

CASES = 400
# More than there are: scipy goes through all of them then.
EVERY_CASE = stats.PermutationMethod(n_resamples=1_000_000)

# Multiples of an eighth: sums and halves of them are exact, and many are tied.
eighths = st.integers(-40, 40).map(lambda n: n / 8)
samples = st.lists(eighths, min_size=1, max_size=12)


@cache
def all_signs(n: int) -> Array:
    return np.array([[(case >> i) & 1 for i in range(n)] for case in range(1 << n)], dtype=float)


@cache
def all_choices(n: int, k: int) -> npt.NDArray[np.int64]:
    return np.array(list(combinations(range(n), k)))


def counted_signed_rank_p(d: Array) -> float:
    """By its definition: the share of all 2^n ways to give signs whose positive ranks sum up to as much."""
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    return float(np.mean(all_signs(len(d)) @ ranks >= ranks[d > 0].sum() - 1e-9))


def counted_rank_sum_p(a: Array, b: Array) -> float:
    """By its definition: the share of all ways to draw b from both whose ranks sum up to as much."""
    ranks = stats.rankdata(np.concatenate([a, b]))
    sums = ranks[all_choices(len(ranks), len(b))].sum(axis=1)
    return float(np.mean(sums >= ranks[len(a) :].sum() - 1e-9))


def scipy_signed_rank_p(d: Array, **options: object) -> float:
    return float(stats.wilcoxon(d, alternative="greater", **options).pvalue)  # type: ignore[call-overload]


def scipy_rank_sum_p(a: Array, b: Array, **options: object) -> float:
    return float(stats.mannwhitneyu(b, a, alternative="greater", **options).pvalue)  # type: ignore[call-overload]


def tied(rng: np.random.Generator, n: int) -> Array:
    return rng.integers(-4, 7, n).astype(float)


def size(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high))


def test_signed_ranks_without_ties_are_those_of_scipy_at_every_size_up_to_fifty() -> None:
    rng = np.random.default_rng(1)
    for case in range(CASES):
        d = rng.normal(rng.normal(0, 0.5), 1, 1 + case % 50)
        assert signed_rank_p(d) == pytest.approx(scipy_signed_rank_p(d, method="exact"), abs=1e-12)


def test_signed_ranks_with_ties_and_zeros_are_those_that_counting_gives() -> None:
    rng = np.random.default_rng(2)
    for case in range(CASES):
        d = tied(rng, 1 + case % 12)
        assert signed_rank_p(d) == pytest.approx(counted_signed_rank_p(d), abs=1e-12)


def test_counting_signed_ranks_gives_what_scipy_gives_where_it_permutes() -> None:
    rng = np.random.default_rng(3)
    for case in range(30):
        d = tied(rng, 5 + case % 5)
        d = d[d != 0]
        expected = scipy_signed_rank_p(d, method=EVERY_CASE)
        assert counted_signed_rank_p(d) == pytest.approx(expected, abs=1e-12)
        assert signed_rank_p(d) == pytest.approx(expected, abs=1e-12)


def test_rank_sums_without_ties_are_those_of_scipy_whatever_the_sizes() -> None:
    rng = np.random.default_rng(4)
    for _ in range(CASES):
        n, k = rng.integers(1, 31, 2)
        a, b = rng.normal(0, 1, n), rng.normal(rng.normal(0, 0.5), 1, k)
        assert rank_sum_p(a, b) == pytest.approx(scipy_rank_sum_p(a, b, method="exact"), abs=1e-12)


def test_rank_sums_with_ties_are_those_that_counting_gives() -> None:
    rng = np.random.default_rng(5)
    for _ in range(CASES):
        a, b = tied(rng, size(rng, 1, 8)), tied(rng, size(rng, 1, 8))
        assert rank_sum_p(a, b) == pytest.approx(counted_rank_sum_p(a, b), abs=1e-12)


def test_counting_rank_sums_gives_what_scipy_gives_where_it_permutes() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        a, b = tied(rng, size(rng, 2, 7)), tied(rng, size(rng, 2, 7))
        expected = scipy_rank_sum_p(a, b, method=EVERY_CASE)
        assert counted_rank_sum_p(a, b) == pytest.approx(expected, abs=1e-12)
        assert rank_sum_p(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("draw", [tied, lambda rng, n: rng.normal(0.1, 1, n)])
def test_beyond_the_exact_sizes_both_are_scipys_normal_ones_with_continuity(
    draw: Callable[[np.random.Generator, int], Array],
) -> None:
    rng = np.random.default_rng(7)
    for _ in range(CASES // 4):
        d = draw(rng, 120)
        expected = scipy_signed_rank_p(d, method="asymptotic", correction=True)
        assert signed_rank_p(d) == pytest.approx(expected, abs=1e-9)
        a, b = draw(rng, size(rng, 50, 80)), draw(rng, size(rng, 31, 80))
        assert rank_sum_p(a, b) == pytest.approx(scipy_rank_sum_p(a, b, method="asymptotic"), abs=1e-9)


@pytest.mark.parametrize("n", [51, 80, 200])
def test_the_normal_signed_rank_errs_by_less_than_is_said(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(100):
        d = rng.normal(0.15, 1, n)
        assert signed_rank_p(d) == pytest.approx(scipy_signed_rank_p(d, method="exact"), abs=0.005)


@pytest.mark.parametrize(("n", "k"), [(31, 31), (50, 40), (300, 6), (7, 290)])
def test_the_normal_rank_sum_errs_by_less_than_is_said(n: int, k: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(30):
        a, b = rng.normal(0, 1, n), rng.normal(0.3, 1, k)
        assert rank_sum_p(a, b) == pytest.approx(scipy_rank_sum_p(a, b, method="exact"), abs=0.005)


def test_one_against_many_is_counted_however_many_they_are() -> None:
    a = np.arange(99, dtype=float)
    assert rank_sum_p(a, [99.0]) == pytest.approx(1 / 100)
    assert rank_sum_p(-a, [-99.0]) == pytest.approx(1.0)
    assert rank_sum_p([-1.0], a) == pytest.approx(1 / 100)


def test_unequal_sizes_six_against_nine() -> None:
    """U is 51 of 54: seven of 5005 draws reach as far. Tables give 12 as the critical value."""
    a = np.array([1.0, 2, 3, 4, 5, 6, 7, 9, 11])
    b = np.array([8.0, 10, 12, 13, 14, 15])
    differences = np.sort((b[:, None] - a).ravel())
    for x, y in ((a, b), (-b, -a)):
        assert rank_sum_p(x, y) == pytest.approx(7 / 5005)
        assert rank_sum_p(x, y) == pytest.approx(scipy_rank_sum_p(x, y, method="exact"), abs=1e-12)
        assert two_sample_shift(x, y) == Shift(7.0, differences[12], differences[-13], 6)
        assert two_sample_shift(x, y) == inverted_rank_sum(x, y)


def test_unequal_sizes_are_never_taken_for_pairs() -> None:
    # Six of nine pairs would all point up; as two samples they are one.
    a, b = [1.0, 2, 3, 4, 5, 6, 7, 8, 9], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert rank_sum_p(a, b) > 0.5
    assert signed_rank_p(np.array(b) - np.array(a[:6])) == 1 / 64


def test_six_pairs_all_the_same_way() -> None:
    """n = 6: a normal approximation says 0.014 or, with continuity, 0.018. It is 1 in 64."""
    d = np.array([0.11, 0.07, 0.2, 0.09, 0.14, 0.1])
    assert signed_rank_p(d) == 1 / 64
    assert signed_rank_p(-d) == 1.0
    found = paired_shift(d)
    assert found is not None
    # Tables give 2 as the critical value of six: the bound is the third smallest Walsh average.
    walsh = sorted((d[i] + d[j]) / 2 for i in range(6) for j in range(i, 6))
    assert (found.low, found.high) == pytest.approx((walsh[2], walsh[-3]))
    assert found.point == pytest.approx(np.median(walsh))


@pytest.mark.parametrize(("place", "ways"), [(1, 2), (2, 3), (3, 5), (4, 7), (5, 10), (6, 14)])
def test_six_pairs_one_of_them_the_other_way(place: int, ways: int) -> None:
    d = np.arange(1.0, 7.0)
    d[place - 1] *= -1
    # The sets of different ranks that sum up to `place` or less.
    assert signed_rank_p(d) == ways / 64


def test_six_against_six() -> None:
    """n = 6 on either side: apart entirely, 1 in 924."""
    a, b = np.arange(6.0), np.arange(6.0) + 10
    assert rank_sum_p(a, b) == pytest.approx(1 / math.comb(12, 6))
    assert rank_sum_p(b, a) == 1.0
    assert two_sample_shift(a, b) == inverted_rank_sum(a, b)


def inverted(candidates: Iterable[float], p: Callable[[float], float]) -> float:
    """The greatest candidate below which the test rejects in every gap, asked in one after another."""
    steps = np.unique(np.asarray(list(candidates)))
    gaps = [steps[0] - 1, *((steps[:-1] + steps[1:]) / 2), steps[-1] + 1]
    low = -math.inf
    for gap, step in zip(gaps, steps, strict=False):
        if p(float(gap)) > 0.05 + 1e-12:
            return low
        low = float(step)
    return low


def inverted_signed_rank(d: Array) -> Shift:
    """Point and bounds by asking scipy (or, of ties, by counting) at every shift that differs."""
    i, j = np.triu_indices(len(d))
    walsh = (d[i] + d[j]) / 2

    def p(at: float, sign: int = 1) -> float:
        shifted = sign * d - at
        if len(set(np.abs(shifted))) < len(d):
            return counted_signed_rank_p(shifted)
        return scipy_signed_rank_p(shifted, method="exact")

    high = -inverted(-walsh, lambda at: p(at, -1))
    return Shift(float(np.median(walsh)), inverted(walsh, p), high, len(d))


def inverted_rank_sum(a: Array, b: Array) -> Shift:
    """As inverted_signed_rank, of two samples."""
    differences = (b[:, None] - a).ravel()

    def p(at: float, sign: int = 1) -> float:
        x, y = sign * a, sign * b - at
        if len(set(np.concatenate([x, y]))) < len(a) + len(b):
            return counted_rank_sum_p(x, y)
        return scipy_rank_sum_p(x, y, method="exact")

    high = -inverted(-differences, lambda at: p(at, -1))
    return Shift(float(np.median(differences)), inverted(differences, p), high, min(len(a), len(b)))


def assert_same(found: Shift | None, expected: Shift) -> None:
    assert found is not None
    assert found.n == expected.n
    assert (found.point, found.low, found.high) == pytest.approx(
        (expected.point, expected.low, expected.high), abs=1e-9
    )


@pytest.mark.parametrize("draw", [tied, lambda rng, n: rng.normal(0.1, 1, n)])
def test_paired_bounds_are_where_scipys_test_turns(
    draw: Callable[[np.random.Generator, int], Array],
) -> None:
    rng = np.random.default_rng(8)
    for case in range(60):
        d = draw(rng, 4 + case % 7)
        assert_same(paired_shift(d.tolist()), inverted_signed_rank(d))


@pytest.mark.parametrize("draw", [tied, lambda rng, n: rng.normal(0.1, 1, n)])
def test_two_sample_bounds_are_where_scipys_test_turns(
    draw: Callable[[np.random.Generator, int], Array],
) -> None:
    rng = np.random.default_rng(9)
    for _ in range(60):
        a, b = draw(rng, size(rng, 2, 8)), draw(rng, size(rng, 2, 8))
        assert_same(two_sample_shift(a.tolist(), b.tolist()), inverted_rank_sum(a, b))


@given(samples, eighths)
def test_a_shift_of_all_pairs_shifts_point_and_bounds(d: list[float], by: float) -> None:
    found = shift_of(d)
    assert_same(
        paired_shift([x + by for x in d]), Shift(found.point + by, found.low + by, found.high + by, found.n)
    )
    assert signed_rank_p([x + by for x in d], by) == signed_rank_p(d)


@given(samples, st.sampled_from([1e-9, 0.125, 3.0, 1e9]))
def test_units_do_not_matter(d: list[float], unit: float) -> None:
    found = shift_of(d)
    scaled = paired_shift([x * unit for x in d])
    assert scaled is not None
    assert (scaled.point / unit, scaled.low / unit, scaled.high / unit) == pytest.approx(
        (found.point, found.low, found.high)
    )
    assert signed_rank_p([x * unit for x in d]) == signed_rank_p(d)


@given(samples)
def test_b_against_a_is_a_against_b_in_the_mirror(d: list[float]) -> None:
    found = shift_of(d)
    assert_same(paired_shift([-x for x in d]), Shift(-found.point, -found.high, -found.low, found.n))


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(d: list[float], random: Random) -> None:
    shuffled = random.sample(d, len(d))
    assert paired_shift(shuffled) == paired_shift(d)
    assert signed_rank_p(shuffled) == signed_rank_p(d)


@given(samples, samples, eighths)
def test_two_samples_swapped_shifted_mirrored_or_shuffled_say_the_same(
    a: list[float], b: list[float], by: float
) -> None:
    found = two_sample_shift(a, b)
    assert found is not None
    back = Shift(-found.point, -found.high, -found.low, found.n)
    assert_same(two_sample_shift(b, a), back)
    assert_same(two_sample_shift([-x for x in a], [-y for y in b]), back)
    assert_same(two_sample_shift(sorted(a), b[::-1]), found)
    moved = Shift(found.point + by, found.low + by, found.high + by, found.n)
    assert_same(two_sample_shift(a, [y + by for y in b]), moved)
    assert_same(two_sample_shift([x - by for x in a], b), moved)


@given(samples)
def test_the_point_lies_between_the_bounds_and_those_among_what_was_seen(d: list[float]) -> None:
    found = shift_of(d)
    assert found.low <= found.point <= found.high
    assert found.low in (-math.inf, *((x + y) / 2 for x in d for y in d))


@given(samples, eighths)
def test_a_shift_is_rejected_exactly_where_it_lies_below_the_bound(d: list[float], at: float) -> None:
    # Sixteenths are where Walsh averages of eighths lie; between them nothing is tied.
    between = at + 1 / 32
    assert (signed_rank_p(d, between) <= 0.05) == (between < shift_of(d).low)
    assert (signed_rank_p([-x for x in d], -between) <= 0.05) == (between > shift_of(d).high)


@given(samples, samples, eighths)
def test_a_shift_of_two_samples_is_rejected_exactly_where_it_lies_below_the_bound(
    a: list[float], b: list[float], at: float
) -> None:
    between = at + 1 / 16
    found = two_sample_shift(a, b)
    assert found is not None
    # One in twenty is what 3 against 3 can show at most, and computed as 1/20 or as 0.05.
    assert (rank_sum_p(a, b, between) <= 0.05 + 1e-12) == (between < found.low)


@given(samples, st.lists(eighths, min_size=2, max_size=6))
def test_the_higher_the_shift_the_higher_is_p(d: list[float], at: list[float]) -> None:
    """What finding bounds by halving rests on; shifts that differences equal are left out with those."""
    p = [signed_rank_p(d, x + 1 / 32) for x in sorted(at)]
    q = [rank_sum_p(at, d, x + 1 / 32) for x in sorted(at)]
    assert p == pytest.approx(sorted(p), abs=1e-12)
    assert q == pytest.approx(sorted(q), abs=1e-12)


@pytest.mark.parametrize("n", range(1, 8))
def test_five_pairs_bound_at_95_percent_and_four_do_not(n: int) -> None:
    found = shift_of([1.0 + i / 8 for i in range(n)])
    if n < 5:
        assert (found.low, found.high) == (-math.inf, math.inf)
    else:
        assert 1.0 <= found.low <= found.high <= 2.0
    assert signed_rank_p([1.0] * n) == 2.0**-n


def test_three_against_three_bound_and_two_against_five_too_but_not_two_against_four() -> None:
    for n, k, bounded in (
        (3, 3, True),
        (2, 5, True),
        (5, 2, True),
        (2, 4, False),
        (1, 18, False),
        (1, 19, True),
    ):
        found = two_sample_shift([i / 8 for i in range(n)], [10 + i / 8 for i in range(k)])
        assert found is not None
        assert math.isfinite(found.low) == math.isfinite(found.high) == bounded


def test_nothing_has_no_shift_and_proves_nothing() -> None:
    assert paired_shift([]) is None
    assert two_sample_shift([], [1.0]) is None
    assert two_sample_shift([1.0], []) is None
    assert signed_rank_p([]) == signed_rank_p([0.5, 0.5], 0.5) == 1.0
    assert rank_sum_p([], [1.0]) == rank_sum_p([1.0], []) == 1.0


def test_pairs_that_all_say_the_same_leave_no_doubt() -> None:
    assert paired_shift([0.25] * 10) == Shift(0.25, 0.25, 0.25, 10)
    assert two_sample_shift([1.0] * 6, [1.5] * 9) == Shift(0.5, 0.5, 0.5, 6)


@given(st.floats(0.001, 1000), st.sampled_from([0.01, 0.05, 0.1, 0.33]))
def test_what_differs_only_by_rounding_is_a_tie(a: float, share: float) -> None:
    """Ten swaps 5 % slower to the last digit but one are not proof of more than 5 %: once 1 in 1024."""
    logs = [math.log(a * k * (1 + share) / (a * k)) for k in range(1, 11)]
    assert signed_rank_p(logs, math.log1p(share)) == 1.0
    found = shift_of(logs)
    assert found.low <= found.point <= found.high
    assert rank_sum_p([0.1] * 6, [0.1 + 0.2] * 6, 0.2) == pytest.approx(1.0)


def test_ties_do_not_depend_on_how_they_are_written() -> None:
    tenths = [0.1, 0.3, 0.5, 0.9, 0.7, 0.8]
    for at in range(-3, 12):
        assert signed_rank_p(tenths, at / 10) == signed_rank_p([round(10 * x) for x in tenths], at)


Draw = Callable[[np.random.Generator, int], Array]

# What both sides are drawn from: skewed by themselves, symmetric in their difference.
SKEWED: dict[str, Draw] = {
    "log-normal": lambda rng, n: rng.lognormal(0, 0.8, n),
    "with spikes": lambda rng, n: rng.normal(0, 1, n) + 10 * (rng.random(n) < 0.1),
    "whole numbers, half of them tied": lambda rng, n: rng.geometric(0.4, n).astype(float),
    "hardly two values": lambda rng, n: (rng.random(n) < 0.3).astype(float),
}


@pytest.mark.parametrize("n", [6, 10, 25])
@pytest.mark.parametrize("draw", SKEWED.values(), ids=SKEWED.keys())
def test_each_paired_bound_holds_the_truth_95_times_in_a_hundred(draw: Draw, n: int) -> None:
    rng = np.random.default_rng(n)
    found = [shift_of(2.0 + draw(rng, n) - draw(rng, n)) for _ in range(CASES)]
    assert_covered(found, 2.0)


@pytest.mark.parametrize(("n", "k"), [(6, 6), (6, 9), (12, 7)])
@pytest.mark.parametrize("draw", SKEWED.values(), ids=SKEWED.keys())
def test_each_bound_of_two_samples_holds_the_truth_95_times_in_a_hundred(draw: Draw, n: int, k: int) -> None:
    rng = np.random.default_rng(n + k)
    drawn = (two_sample_shift(draw(rng, n), 2.0 + draw(rng, k)) for _ in range(CASES))
    assert_covered([found for found in drawn if found is not None], 2.0)


def assert_covered(found: Sequence[Shift], truth: float) -> None:
    """Less three standard errors of the simulation."""
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / len(found))
    assert np.mean([shift.low <= truth + 1e-9 for shift in found]) >= least
    assert np.mean([truth - 1e-9 <= shift.high for shift in found]) >= least


def test_bounds_are_not_wider_than_they_need_to_be() -> None:
    sizes = 2.0 ** np.arange(10)
    above = [shift_of(sizes * (2 * signs - 1)).low > 0 for signs in all_signs(10)]
    # With one sum of ranks more it were 54.
    assert (sum(above), len(above)) == (43, 1024)


def test_holm_by_hand() -> None:
    # The smallest thrice, the next twice, the last once, and none below one before it.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.02, 0.02, 0.9]) == pytest.approx((0.06, 0.06, 0.9))
    assert holm([0.5, 0.6]) == pytest.approx((1.0, 1.0))
    assert holm([0.04]) == (0.04,)
    assert holm([]) == ()


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(p_values, st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p: list[float], alpha: float) -> None:
    """The definition: in order, each against alpha / (how many are left), until the first that is not."""
    rejected: set[int] = set()
    for i in sorted(range(len(p)), key=lambda i: p[i]):
        if p[i] * (len(p) - len(rejected)) > alpha:
            break
        rejected.add(i)
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= alpha} == rejected


@given(p_values, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_and_does_not_depend_on_it(p: list[float], random: Random) -> None:
    adjusted = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))
    by_p = [a for _, a in sorted(zip(p, adjusted, strict=True))]
    assert by_p == sorted(by_p)
    places = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in places]) == tuple(adjusted[i] for i in places)


@given(p_values, st.integers(0, 7), st.floats(0, 1))
def test_a_smaller_p_makes_no_adjusted_one_greater(p: list[float], which: int, share: float) -> None:
    smaller = [value * share if i == which % len(p) else value for i, value in enumerate(p)]
    assert all(after <= before for after, before in zip(holm(smaller), holm(p), strict=True))


@given(st.integers(1, 200))
def test_the_fewest_pairs_can_pass_holm_and_one_less_can_not(comparisons: int) -> None:
    n = fewest_pairs(comparisons)
    others = [1.0] * (comparisons - 1)
    assert holm([signed_rank_p([1.0] * n), *others])[0] <= 0.05
    assert holm([signed_rank_p([1.0] * (n - 1)), *others])[0] > 0.05


def test_one_comparison_takes_five_pairs_and_three_take_six() -> None:
    assert [fewest_pairs(n) for n in (1, 2, 3, 4, 12)] == [5, 6, 6, 7, 8]


def shift_of(d: Sequence[float] | Array) -> Shift:
    found = paired_shift(d)
    assert found is not None
    return found

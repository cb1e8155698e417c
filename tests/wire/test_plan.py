"""Which swaps a plan asks for, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.spec.experiment import Experiment
from swapbench.wire.plan import Arm, PairOrder, paired_turns, schedule, scripted_checkpoints, turns
from tests.scripted import plan_of, scripted


@given(st.integers(1, 20), st.integers(0, 5))
def test_every_scenario_is_planned_once_a_round_warmup_first(rounds: int, warmup: int) -> None:
    experiment = scripted(rounds=rounds, warmup=warmup)
    (turn,) = turns(experiment)
    planned = schedule(experiment, turn)
    assert [(p.round, p.scenario) for p in planned] == [
        (number, name) for number in range(rounds + warmup) for name in ("up", "down")
    ]
    assert [p.round for p in planned if p.warmup] == [n for n in range(warmup) for _ in range(2)]


@given(st.sets(st.tuples(st.integers(0, 3), st.sampled_from(["up", "down"]))))
def test_what_is_done_and_what_is_planned_make_the_whole(done: set[tuple[int, str]]) -> None:
    experiment = scripted(rounds=4)
    (turn,) = turns(experiment)
    left = {(p.round, p.scenario) for p in schedule(experiment, turn, {("", n, "stock", s) for n, s in done})}
    assert left | done == {(p.round, p.scenario) for p in schedule(experiment, turn)}
    assert not left & done


def test_a_plan_survives_the_wire() -> None:
    plan = plan_of(scripted())
    assert type(plan).model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@given(st.integers(1, 8), st.integers(0, 99))
def test_of_several_strategies_each_has_one_turn_in_every_round(rounds: int, seed: int) -> None:
    names = ["stock", "slab", "map"]
    experiment = scripted(rounds=rounds, strategy=names, seed=seed)
    taken = turns(experiment)
    for number in range(rounds):
        assert sorted(turn.strategy for turn in taken if turn.rounds == (number,)) == sorted(names)
    assert taken == turns(experiment)


def test_the_order_of_strategies_differs_between_rounds() -> None:
    experiment = scripted(rounds=20, strategy=["stock", "slab", "map"])
    orders = {tuple(t.strategy for t in turns(experiment) if t.rounds == (n,)) for n in range(20)}
    assert len(orders) > 3


def test_what_one_strategy_has_done_another_still_has_to_do() -> None:
    experiment = scripted(rounds=1, strategy=["stock", "slab"])
    left = {turn.strategy: schedule(experiment, turn, {("", 0, "slab", "up")}) for turn in turns(experiment)}
    assert [swap.scenario for swap in left["slab"]] == ["down"]
    assert [swap.scenario for swap in left["stock"]] == ["up", "down"]


def two_arms(a: Experiment, b: Experiment | None = None) -> tuple[Arm, Arm]:
    b = b or a
    return (
        Arm("a", a, scripted_checkpoints(a), "python"),
        Arm("b", b, scripted_checkpoints(b), "other-python"),
    )


def test_two_arms_take_turns_a_b_b_a() -> None:
    taken = paired_turns(two_arms(scripted(rounds=4)), "abba", seed=0)
    assert [(turn.rounds, turn.arm) for turn in taken] == [
        ((0,), "a"),
        ((0,), "b"),
        ((1,), "b"),
        ((1,), "a"),
        ((2,), "a"),
        ((2,), "b"),
        ((3,), "b"),
        ((3,), "a"),
    ]


def test_warmup_rounds_are_taken_in_turns_too() -> None:
    arms = two_arms(scripted(rounds=1, warmup=1))
    taken = paired_turns(arms, "abba", seed=0)
    assert [(turn.rounds, turn.arm) for turn in taken] == [((0,), "a"), ((0,), "b"), ((1,), "b"), ((1,), "a")]
    assert [p.warmup for turn in taken for p in schedule(arms[0].experiment, turn)] == [True] * 4 + [
        False
    ] * 4


@given(st.integers(1, 20), st.integers(0, 3), st.sampled_from(["abba", "random"]), st.integers(0, 99))
def test_every_round_has_one_turn_of_either_arm(
    rounds: int, warmup: int, order: PairOrder, seed: int
) -> None:
    arms = two_arms(scripted(rounds=rounds, warmup=warmup))
    taken = paired_turns(arms, order, seed)
    assert [turn.rounds for turn in taken] == [(n,) for n in range(rounds + warmup) for _ in arms]
    for first, second in zip(taken[::2], taken[1::2], strict=True):
        assert {first.arm, second.arm} == {"a", "b"}
    assert taken == paired_turns(arms, order, seed)


def test_a_random_order_is_that_of_its_seed() -> None:
    arms = two_arms(scripted(rounds=200))
    orders = [[turn.arm for turn in paired_turns(arms, "random", seed)[::2]] for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert all(70 <= order.count("a") <= 130 for order in orders)


@pytest.mark.parametrize("order", ["abba", "random"])
def test_each_arm_has_its_own_strategy_and_all_scenarios(order: PairOrder) -> None:
    arms = two_arms(scripted(rounds=3), scripted(rounds=3, strategy="slab"))
    taken = paired_turns(arms, order, seed=0)
    assert {(turn.arm, turn.strategy) for turn in taken} == {("a", "stock"), ("b", "slab")}
    experiments = {arm.name: arm.experiment for arm in arms}
    for turn in taken:
        assert [swap.scenario for swap in schedule(experiments[turn.arm], turn)] == ["up", "down"]


def test_what_one_arm_has_done_the_other_still_has_to_do() -> None:
    arms = two_arms(scripted(rounds=1))
    done = {("b", 0, "stock", "up"), ("b", 0, "stock", "down"), ("a", 0, "stock", "up")}
    left = {turn.arm: schedule(arms[0].experiment, turn, done) for turn in paired_turns(arms, "abba", 0)}
    assert [swap.scenario for swap in left["a"]] == ["down"]
    assert left["b"] == ()

"""Which swaps a plan asks for, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from swapbench.plan import schedule, turns
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

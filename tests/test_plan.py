"""Which swaps a plan asks for, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from swapbench.plan import schedule
from tests.scripted import plan_of, scripted


@given(st.integers(1, 20), st.integers(0, 5))
def test_every_scenario_is_planned_once_a_round_warmup_first(rounds: int, warmup: int) -> None:
    planned = schedule(scripted(rounds=rounds, warmup=warmup))
    assert [(p.round, p.scenario) for p in planned] == [
        (number, name) for number in range(rounds + warmup) for name in ("up", "down")
    ]
    assert [p.round for p in planned if p.warmup] == [n for n in range(warmup) for _ in range(2)]


@given(st.sets(st.tuples(st.integers(0, 3), st.sampled_from(["up", "down"]))))
def test_what_is_done_and_what_is_planned_make_the_whole(done: set[tuple[int, str]]) -> None:
    experiment = scripted(rounds=4)
    left = {(p.round, p.scenario) for p in schedule(experiment, done)}
    assert left | done == {(p.round, p.scenario) for p in schedule(experiment)}
    assert not left & done


def test_a_plan_survives_the_wire() -> None:
    plan = plan_of(scripted())
    assert type(plan).model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan

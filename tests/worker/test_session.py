"""A plan carried out on the scripted target, told as the events it leaves."""

from dataclasses import replace
from itertools import pairwise

import pytest

from swapbench.base.phases import PHASES
from swapbench.machine.energy import Energy
from swapbench.wire.events import Event, Note, RoundStarted, RunFinished, WorkerReady
from swapbench.wire.plan import Plan
from swapbench.wire.swap import ClientRequest, PhaseMeasured, PlannedSwap, SwapFinished
from swapbench.worker.meter import Settled
from swapbench.worker.probe import SwapProbe
from swapbench.worker.session import run_session
from swapbench.worker.targets.scripted import ScriptedMeter, ScriptedTarget
from tests.measured import planned
from tests.scripted import LARGE_BYTES, SMALL_BYTES, plan_of, play, scripted


def _swaps(events: list[object]) -> list[SwapFinished]:
    return [event for event in events if isinstance(event, SwapFinished)]


def test_a_run_tells_of_itself_then_rounds_then_the_end() -> None:
    events = play(scripted(rounds=2, warmup=1))
    assert isinstance(events[0], WorkerReady)
    rounds = [event for event in events if isinstance(event, RoundStarted)]
    assert [(r.swap.round, r.swap.warmup) for r in rounds] == [(0, True), (1, False), (2, False)]
    assert isinstance(events[-1], RunFinished)


def test_each_round_swaps_every_scenario_in_order() -> None:
    swaps = _swaps(list(play(scripted(rounds=2))))
    assert [(s.swap.round, s.swap.scenario) for s in swaps] == [
        (0, "up"),
        (0, "down"),
        (1, "up"),
        (1, "down"),
    ]


def test_the_eight_phases_come_in_order_and_sum_to_the_total() -> None:
    events = play(scripted(rounds=1))
    whole = [e for e in events if isinstance(e, PhaseMeasured) and e.swap.scenario == "up" and not e.span]
    assert [e.phase for e in whole] == [*PHASES, "first_token"]
    (up, _) = _swaps(list(events))
    assert up.timing.total_s == pytest.approx(3.3)
    assert sum(e.seconds for e in whole[:-1]) + (up.timing.unattributed_s or 0) == pytest.approx(3.3)
    assert up.timing.to_first_token_s == pytest.approx(3.4)


def test_phases_follow_one_another_without_overlap() -> None:
    whole = [e for e in play(scripted(rounds=1)) if isinstance(e, PhaseMeasured) and not e.span]
    for earlier, later in pairwise(whole):
        if earlier.swap.scenario == later.swap.scenario:
            assert later.start_s >= earlier.start_s + earlier.seconds


def test_spans_lie_inside_their_phase() -> None:
    events = play(scripted(rounds=1))
    (load,) = [e for e in events if isinstance(e, PhaseMeasured) and e.phase == "load" and not e.span][:1]
    (read,) = [e for e in events if isinstance(e, PhaseMeasured) and e.span == "read"][:1]
    assert read.start_s >= load.start_s
    assert read.seconds == pytest.approx(2.0)
    assert read.start_s + read.seconds <= load.start_s + load.seconds


def test_ledgers_show_the_old_model_go_and_the_new_one_come() -> None:
    events = play(scripted(rounds=1))
    rows = {
        e.phase: e for e in events if isinstance(e, PhaseMeasured) and e.swap.scenario == "up" and not e.span
    }
    assert rows["unload"].before.mlx_active_bytes == SMALL_BYTES
    assert rows["unload"].after.mlx_active_bytes == 0
    assert rows["load"].after.mlx_active_bytes == LARGE_BYTES
    assert rows["load"].mlx_peak_bytes == LARGE_BYTES


def test_the_row_of_a_swap_that_was_rolled_back_is_of_that_swap() -> None:
    failing = [
        {"scenario": "up", "fails_in": phase, "round": n} for n, phase in enumerate(("load", "reinit"))
    ]
    early, _, late, _ = _swaps(list(play(scripted(failing, rounds=2))))
    assert (early.status, late.status) == ("rolled_back", "rolled_back")
    assert (early.outcome.loaded_bytes, late.outcome.loaded_bytes) == (None, LARGE_BYTES)
    assert (early.failed_phase, late.failed_phase) == ("load", "reinit")
    assert early.outcome.resident_before == late.outcome.resident_before == 1.0


def test_a_failed_load_rolls_back_and_the_run_goes_on() -> None:
    failing = {"scenario": "down", "round": 1, "fails_in": "load"}
    swaps = _swaps(list(play(scripted([failing], rounds=3))))
    assert [s.status for s in swaps] == ["ok", "ok", "ok", "rolled_back", "ok", "ok"]
    failed = swaps[3]
    assert failed.failed_phase == "load"
    assert failed.error == "load failed: the script fails down here"
    assert failed.timing.total_s is None
    assert failed.rollback_s is not None
    assert not failed.valid


def test_a_first_token_that_fails_is_told_as_that() -> None:
    class NoAnswer(ScriptedTarget):
        def first_token(self, probe: SwapProbe) -> None:
            raise RuntimeError("nobody answers")

    plan = plan_of(scripted(rounds=1))
    events: list[Event] = []
    run_session(plan, NoAnswer(plan), events.append, pid=1)
    assert _swaps(list(events))[0].error == "first_token failed: nobody answers"


class _Metered(ScriptedTarget):
    """On a machine whose counter of joules goes on by seven from look to look, each of which is an event."""

    def __init__(self, plan: Plan, events: list[Event]) -> None:
        super().__init__(plan)
        looked = Note(text="looked at energy")

        def read() -> tuple[float]:
            events.append(looked)
            return (7.0 * events.count(looked),)

        self.meter.energy = Energy("a script", read, least_s=0, ranges=(0,))

    def settle(self) -> Settled:
        return replace(super().settle(), watts=3.0)


def _metered(failing: list[dict[str, str]] | None = None) -> list[Event]:
    plan = plan_of(scripted(failing, rounds=1))
    events: list[Event] = []
    run_session(plan, _Metered(plan, events), events.append, pid=1)
    return events


def test_energy_is_looked_at_before_the_swap_and_after_its_first_token_and_never_within() -> None:
    told = [
        event.phase if isinstance(event, PhaseMeasured) else event.text
        for event in _metered()
        if isinstance(event, Note) or (isinstance(event, PhaseMeasured) and not event.span)
    ]
    assert told == ["looked at energy", *PHASES, "first_token", "looked at energy"] * 2


def test_a_swap_that_succeeds_has_its_energy_and_the_power_of_its_new_model() -> None:
    swaps = _swaps(list(_metered([{"scenario": "up", "fails_in": "load"}])))
    assert [(swap.status, swap.energy_j, swap.idle_w) for swap in swaps] == [
        ("rolled_back", None, None),
        ("ok", 7.0, 3.0),
    ]


class _OnRealTime(ScriptedMeter):
    """On whose clock a thread can tick."""

    clock_origin_ns: int | None = 0


class _Unwell(ScriptedTarget):
    """Whose health check is broken, as opposed to unanswered."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.meter = _OnRealTime()

    def health(self) -> None:
        raise ValueError("no such model is watched")


def test_a_health_check_that_goes_wrong_leaves_the_stall_empty_and_is_told_once() -> None:
    plan = plan_of(scripted(rounds=2))
    events: list[Event] = []
    run_session(plan, _Unwell(plan), events.append, pid=1)
    swaps = _swaps(list(events))
    assert [(swap.status, swap.timing.longest_stall_s) for swap in swaps] == [("ok", None)] * 4
    assert [event.text for event in events if isinstance(event, Note)] == [
        "no stall is told: the health check went wrong: no such model is watched"
    ]


def test_a_rollback_that_fails_leaves_the_swap_failed_with_both_reasons() -> None:
    failing = {"scenario": "up", "round": 0, "fails_in": "unload", "rollback": False}
    first = _swaps(list(play(scripted([failing]))))[0]
    assert first.status == "failed"
    assert "unload failed" in first.error
    assert "rolling back failed too" in first.error


def test_fail_fast_stops_at_the_first_failure() -> None:
    failing = {"scenario": "up", "round": 1, "fails_in": "evict"}
    events = play(scripted([failing], rounds=5), fail_fast=True)
    assert len(_swaps(list(events))) == 3
    assert events[-1] == RunFinished(stopped="stopped at the first failure: up of round 1")
    assert isinstance(events[-1], RunFinished)


@pytest.mark.parametrize(
    ("label", "resident", "reason"),
    [
        ("warm", 1.0, ""),
        ("warm", 0.5, "labelled warm, but only 50.0% of the checkpoint was resident"),
        ("cold", 0.0, ""),
        ("cold", 0.5, "labelled cold, but 50.0% of the checkpoint was resident"),
        ("as-is", 0.5, ""),
    ],
)
def test_a_swap_whose_residency_contradicts_its_label_is_invalid(
    label: str, resident: float, reason: str
) -> None:
    experiment = scripted(rounds=1, page_cache=label)
    assert experiment.script is not None
    script = experiment.script.model_copy(update={"resident": resident})
    swap = _swaps(list(play(experiment.model_copy(update={"script": script}))))[0]
    assert (swap.valid, swap.invalid_reason) == (not reason, reason)


def test_a_mini_models_header_makes_no_cold_swap_warm() -> None:
    experiment = scripted(rounds=1, page_cache="cold")
    assert experiment.script is not None
    swaps = {}
    for weight_bytes in (1 << 20, 1 << 30):
        script = experiment.script.model_copy(
            update={"resident": 0.3, "model_bytes": dict.fromkeys(experiment.models, weight_bytes)}
        )
        swaps[weight_bytes] = _swaps(list(play(experiment.model_copy(update={"script": script}))))[0].valid
    assert swaps == {1 << 20: True, 1 << 30: False}


def test_without_first_token_the_total_stands_alone() -> None:
    swap = _swaps(list(play(scripted(rounds=1, first_token=False))))[0]
    assert swap.timing.total_s == pytest.approx(3.3)
    assert swap.timing.first_token_s is None
    assert swap.timing.to_first_token_s is None


def test_swaps_done_before_are_left_out() -> None:
    swaps = _swaps(
        list(
            play(
                scripted(rounds=2),
                done={("", 0, "stock", "up"), ("", 0, "stock", "down"), ("", 1, "stock", "up")},
            )
        )
    )
    assert [(s.swap.round, s.swap.scenario) for s in swaps] == [(1, "down")]


def test_the_requests_of_a_swap_come_before_its_end() -> None:
    class Asked(ScriptedTarget):
        def clients(self, swap: PlannedSwap, begun_s: float) -> tuple[ClientRequest, ...]:
            return (
                ClientRequest(
                    swap=planned(round=0, scenario="up"),
                    client=0,
                    request="hello",
                    sent_s=0.0,
                    outcome="lost",
                ),
            )

    plan = plan_of(scripted(rounds=1))
    events: list[Event] = []
    run_session(plan, Asked(plan), events.append, pid=1)
    kinds = [type(event) for event in events if isinstance(event, ClientRequest | SwapFinished)]
    assert kinds == [ClientRequest, SwapFinished] * 2

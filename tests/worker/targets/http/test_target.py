"""Servers that behave: every preset against a stand-in that speaks its protocol."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from swapbench.base.phases import PHASES, WHOLE
from swapbench.spec.preset import shipped
from swapbench.wire.events import Event, RunFinished, WorkerReady
from swapbench.wire.swap import PhaseMeasured
from tests.worker.targets.http.stand_in import IN_FLIGHT
from tests.worker.targets.http.standing import THERE, flights_of, play, play_here, preset, swaps_of

Played = Callable[[str], list[Event]]

# Of presets that swap by asking, and by a call: servers that never swapped are started for each model first.
FRESH = ("mlx_lm", "lm-studio")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The events of a whole run of a preset, each carried out once."""

    def once(name: str) -> list[Event]:
        packages = ["psutil"] if name == "mlx_lm" else []
        server = preset(name, packages=packages)
        return play(tmp_path_factory.mktemp(name), server, known=name not in FRESH)

    return cache(once)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_preset_swaps_there_and_back_and_no_phase_is_made_up(name: str, played: Played) -> None:
    events = played(name)
    there, back = swaps_of(events)
    assert [(swap.status, swap.error) for swap in (there, back)] == [("ok", "")] * 2
    assert there.timing.to_first_token_s is not None
    assert there.steady.first_token_s is not None
    assert isinstance(events[-1], RunFinished)
    measured = [event for event in events if isinstance(event, PhaseMeasured)]
    assert not {event.phase for event in measured} & set(PHASES)
    assert [event.phase for event in measured if event.phase == WHOLE] == [WHOLE] * 2


def test_what_cannot_be_seen_is_not_zero(played: Played) -> None:
    (swap, _) = swaps_of(played("mlx_lm"))
    unseen = ("drained_requests", "carried_requests", "evicted_caches", "evicted_bytes", "ahead_bytes")
    assert {getattr(swap.outcome, name) for name in unseen} == {None}
    assert (swap.timing.unattributed_s, swap.restored.caches) == (None, None)


def test_the_cost_of_a_swap_by_asking_is_what_the_same_request_does_not_take_hot(tmp_path: Path) -> None:
    for swap in swaps_of(play_here(tmp_path, "mlx_lm", "--load-s", "0.2")):
        assert swap.timing.to_first_token_s is not None
        assert swap.steady.first_token_s is not None
        assert swap.timing.total_s == pytest.approx(swap.timing.to_first_token_s - swap.steady.first_token_s)
        assert swap.timing.first_token_s is None
        assert swap.outcome.to_first_byte_s is not None
        assert 0.2 <= swap.outcome.to_first_byte_s <= swap.timing.to_first_token_s


def test_a_swap_by_a_call_ends_with_the_call_and_its_first_token_is_asked_for_afterwards(
    tmp_path: Path,
) -> None:
    for swap in swaps_of(play_here(tmp_path, "lm-studio", "--load-s", "0.2")):
        assert swap.timing.total_s is not None
        assert swap.timing.first_token_s is not None
        assert swap.timing.to_first_token_s is not None
        assert 0.2 <= swap.timing.total_s <= swap.timing.to_first_token_s


def test_a_model_that_is_told_to_go_is_waited_for_by_its_name_in_a_list(tmp_path: Path) -> None:
    gone = {"path": "/models", "where": "data.[id={old}].status.value", "equals": "unloaded"}
    call = {"path": "/models/unload", "body": {"model": "{old}"}, "until": gone}
    told = preset("llama-server", swap={"by": "call", "call": [call]}, unload=[])
    for swap in swaps_of(play(tmp_path, told)):
        assert (swap.status, swap.error) == ("ok", "")
        assert swap.timing.total_s is not None
        assert swap.timing.total_s >= 0.2


def test_without_a_first_token_a_swap_by_asking_ends_with_the_first_byte(tmp_path: Path) -> None:
    for swap in swaps_of(play_here(tmp_path, "mlx_lm", first_token=False)):
        assert swap.timing.to_first_token_s is None
        assert swap.timing.total_s is not None
        assert swap.timing.total_s == pytest.approx(swap.outcome.to_first_byte_s, abs=0.01)


def test_what_ollama_reports_is_read_from_its_last_line_and_its_list(played: Played) -> None:
    for swap in swaps_of(played("ollama")):
        assert swap.outcome.reported_load_s == pytest.approx(0.05)
        assert swap.outcome.reported_memory_bytes == 4242


def test_what_lm_studio_reports_is_read_from_the_answer_to_its_call(played: Played) -> None:
    assert [swap.outcome.reported_load_s for swap in swaps_of(played("lm-studio"))] == [1.25, 1.25]


def test_a_server_that_reports_nothing_reports_nothing(played: Played) -> None:
    assert {swap.outcome.reported_load_s for swap in swaps_of(played("mlx_lm"))} == {None}


def test_requests_in_flight_are_followed_to_their_end(tmp_path: Path) -> None:
    events = play_here(tmp_path, "mlx_lm", workload={"requests": 3, "decode_tokens": 8})
    assert [swap.answered_requests for swap in swaps_of(events)] == [3, 3]
    flights = flights_of(events)
    assert {flight.outcome for flight in flights} == {"answered"}
    assert {flight.model for flight in flights} == {"ham", "egg"}
    assert all(flight.sent_s < 0 for flight in flights)


def test_requests_that_are_never_answered_are_stalled_and_fail_no_swap(tmp_path: Path) -> None:
    options = ("--fault", "silent-in-flight")
    work = {"requests": 2, "decode_tokens": IN_FLIGHT}
    events = play_here(tmp_path, "mlx_lm", *options, workload=work, swap_timeout_s=3.0, scenario=[THERE])
    (swap,) = swaps_of(events)
    assert (
        swap.status,
        swap.answered_requests,
        swap.outcome.failed_requests,
        swap.outcome.stalled_requests,
    ) == (
        "ok",
        0,
        0,
        2,
    )
    assert all((flight.longest_gap_s or 0) > 1 for flight in flights_of(events))


def test_a_request_that_has_nothing_to_say_is_answered(tmp_path: Path) -> None:
    options = ("--fault", "silent-in-flight", "--says-nothing")
    work = {"requests": 2, "decode_tokens": IN_FLIGHT}
    (swap,) = swaps_of(play_here(tmp_path, "mlx_lm", *options, workload=work, scenario=[THERE]))
    assert (swap.answered_requests, swap.outcome.failed_requests, swap.outcome.stalled_requests) == (2, 0, 0)


def test_clients_go_on_sending_and_ask_for_the_new_model_once_it_is_wanted(tmp_path: Path) -> None:
    work = {"clients": 3, "rate_per_s": 40.0, "decode_tokens": 4}
    events = play_here(tmp_path, "mlx_lm", "--load-s", "0.3", workload=work, scenario=[THERE])
    (swap,) = swaps_of(events)
    sent = flights_of(events)
    assert (swap.status, swap.clients.sent, swap.answered_requests) == ("ok", len(sent), len(sent))
    assert {request.client for request in sent} == {1, 2, 3}
    assert {request.model for request in sent if request.sent_s < 0} == {"ham"}
    assert {request.model for request in sent} == {"ham", "egg"}
    # A thread that has chosen may be late to send: only the last one is certain.
    assert max(sent, key=lambda request: request.sent_s).model == "egg"
    assert (swap.clients.longest_wait_s or 0) > 0.1


@pytest.mark.parametrize(("options", "kept"), [((), 0), (("--keeps-caches",), 2)])
def test_what_is_left_of_agents_conversations_shows_when_their_model_comes_back(
    options: tuple[str, ...], kept: int, tmp_path: Path
) -> None:
    work = {"agents": 2, "cache_tokens": 300}
    told = play_here(tmp_path, "mlx_lm", "--word-s", "0.001", *options, workload=work, rounds=2)
    first, back, again = swaps_of(told)[:3]
    assert (first.outcome.prefilled_tokens, first.restored.caches) == (600, 0)
    assert (back.restored.caches, back.restored.tokens) == (kept, kept * 300)
    assert (back.restored.seconds or 0) > 0
    assert again.restored.caches == kept


def test_a_server_that_loads_in_its_event_loop_is_deaf_for_as_long(tmp_path: Path) -> None:
    swaps = swaps_of(play_here(tmp_path, "mlx_lm", "--deaf", "--load-s", "0.5"))
    assert [swap.status for swap in swaps] == ["ok", "ok"]
    assert all(
        swap.timing.longest_stall_s is not None and swap.timing.longest_stall_s > 0.3 for swap in swaps
    )


def test_one_that_loads_beside_it_is_not(tmp_path: Path) -> None:
    swaps = swaps_of(play_here(tmp_path, "mlx_lm", "--load-s", "0.5"))
    assert all(
        swap.timing.longest_stall_s is not None and swap.timing.longest_stall_s < 0.4 for swap in swaps
    )


def test_the_servers_memory_is_seen_from_outside_and_mlxs_is_not(played: Played) -> None:
    events = played("mlx_lm")
    for swap in swaps_of(events):
        assert (swap.settled.footprint_bytes or 0) > 1 << 20
        assert swap.settled.mlx_active_bytes is None
    (ready,) = (event for event in events if isinstance(event, WorkerReady))
    assert ready.baseline.footprint_bytes is None
    assert ready.versions == {"psutil": version("psutil")}


def test_the_answer_of_a_model_is_compared_with_its_first_in_the_run(tmp_path: Path) -> None:
    first, *later = swaps_of(play_here(tmp_path, "mlx_lm", rounds=2))
    assert all(swap.verified_tokens == 16 for swap in later)
    assert first.status == "ok"

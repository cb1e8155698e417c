"""Clients that go on sending: when they send, and what they see."""

import threading
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.spec.experiment import Workload
from swapbench.wire.swap import PlannedSwap
from swapbench.worker.engine.requests import (
    Answer,
    Request,
    Sent,
    Ticket,
    Traffic,
    arrivals,
    client_request,
    requests,
    seen_by_client,
)

SWAP = PlannedSwap(round=1, warmup=False, scenario="up")
WORK = Workload(clients=3, prompt_tokens=4, decode_tokens=4)


@given(rate=st.floats(0.1, 1000), seed=st.integers(0, 1000))
def test_arrivals_come_one_after_another_and_the_same_for_the_same_seed(rate: float, seed: int) -> None:
    times = list(islice(arrivals(rate, seed), 50))
    assert all(earlier < later for earlier, later in pairwise(times))
    assert times == list(islice(arrivals(rate, seed), 50))


def test_arrivals_come_at_the_rate_on_average() -> None:
    *_, last_s = islice(arrivals(5.0, seed=3), 20_000)
    assert 20_000 / last_s == pytest.approx(5.0, rel=0.03)


def test_nobody_waits_for_an_answer_before_sending_again() -> None:
    sent = threading.Semaphore(0)

    def never_answered(request: Request) -> Ticket:
        sent.release()
        return Ticket(request)

    traffic = Traffic(never_answered, lambda n: client_request(n, WORK, 0), 3, rate_per_s=500.0, seed=1)
    traffic.start()
    for _ in range(10):
        assert sent.acquire(timeout=30)
    everything = traffic.stop()
    assert len(everything) >= 10
    assert [entry.client for entry in everything[:4]] == [0, 1, 2, 0]
    assert traffic.stop() == everything


def test_waiting_for_more_ends_when_clients_have_been_stopped() -> None:
    traffic = Traffic(Ticket, lambda n: client_request(n, WORK, 0), 3, rate_per_s=500.0, seed=1)
    traffic.start()
    traffic.await_more(2)
    assert len(traffic.stop()) >= 2
    traffic.await_more(1_000_000)


def test_requests_differ_from_round_to_round_and_from_one_another() -> None:
    texts = {client_request(n, WORK, round_).text for n in range(5) for round_ in range(3)}
    assert len(texts) > 12


def _seen(ticket: Ticket | None, at_s: float = 10.0) -> Sent[Request, Ticket | None]:
    return Sent(client=1, request=client_request(1, WORK, 0), at_s=at_s, ticket=ticket)


def test_a_refused_request_has_no_times_but_its_own() -> None:
    seen = seen_by_client(_seen(None), SWAP, zero_s=12.0)
    assert (seen.outcome, seen.sent_s, seen.first_token_s) == ("refused", -2.0, None)
    assert (seen.swap.round, seen.swap.scenario, seen.client) == (1, "up", 2)


def test_an_answered_request_tells_by_whom_and_when() -> None:
    ticket = Ticket(client_request(1, WORK, 0))
    asked_s, *_ = ticket.times_s
    ticket.saw_token()
    ticket.settle(Answer("1", "large", (1, 2), "ab"))
    seen = seen_by_client(_seen(ticket, asked_s), SWAP, zero_s=asked_s)
    assert (seen.outcome, seen.model, seen.sent_s) == ("answered", "large", 0.0)
    assert 0 <= (seen.first_token_s or -1) <= (seen.answered_s or -1)


def test_a_request_without_an_answer_is_lost_and_one_with_an_error_failed() -> None:
    lost, failed = Ticket(client_request(1, WORK, 0)), Ticket(client_request(2, WORK, 0))
    failed.settle(None, RuntimeError("engine broke"))
    outcomes = [seen_by_client(_seen(ticket), SWAP, zero_s=0).outcome for ticket in (lost, failed)]
    assert outcomes == ["lost", "failed"]


def test_a_ticket_that_is_settled_has_its_answer() -> None:
    ticket = Ticket(client_request(1, WORK, 0))
    ticket.saw_token()
    ticket.settle(Answer("1", "model", (1, 2, 3), "abc"))
    asked_s, first_s, answered_s = ticket.times_s
    assert asked_s <= first_s <= answered_s
    assert ticket.steady_tokens_per_s > 0


def test_requests_differ_within_a_round_and_between_rounds() -> None:
    texts = [request.text for seed in range(3) for request in requests(4, 32, 8, seed)]
    assert len(set(texts)) == 12
    assert requests(4, 32, 8, seed=1) == requests(4, 32, 8, seed=1)

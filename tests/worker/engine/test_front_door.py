"""The front door: whatever happens behind it, every client is answered or refused, in order."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.worker.engine.batch import Answer, Request, Ticket
from swapbench.worker.engine.front_door import FrontDoor


class Engine:
    """Takes requests and keeps them in the order in which they came."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.taken: list[Ticket] = []

    def resubmit(self, ticket: Ticket) -> None:
        if not self.takes:
            raise RuntimeError("this engine takes no more requests")
        self.taken.append(ticket)


def request(name: object) -> Request:
    return Request(id=str(name), text="hello", prompt_tokens=1, max_tokens=1)


def ids(tickets: Iterable[Ticket]) -> list[str]:
    return [ticket.request.id for ticket in tickets]


def test_while_an_engine_serves_requests_go_straight_on() -> None:
    door, engine = FrontDoor(4), Engine()
    door.open(engine)  # type: ignore[arg-type]
    door.submit(request(1))
    assert (ids(engine.taken), door.waiting) == (["1"], 0)


def test_during_a_swap_they_wait_and_the_new_engine_takes_them_in_order() -> None:
    door, old, new = FrontDoor(4), Engine(), Engine()
    door.open(old)  # type: ignore[arg-type]
    door.close()
    for number in (1, 2, 3):
        door.submit(request(number))
    assert (old.taken, door.waiting) == ([], 3)
    door.open(new)  # type: ignore[arg-type]
    assert (ids(new.taken), door.waiting) == (["1", "2", "3"], 0)


def test_who_comes_when_the_queue_is_full_is_refused() -> None:
    door = FrontDoor(1)
    assert door.submit(request(1)) is not None
    assert door.submit(request(2)) is None
    assert door.waiting == 1


def test_an_engine_that_takes_nobody_fails_the_request_and_says_so() -> None:
    door, engine = FrontDoor(4), Engine(takes=False)
    door.open(engine)  # type: ignore[arg-type]
    ticket = door.submit(request(1))
    assert ticket is not None
    with pytest.raises(RuntimeError, match="takes no more requests"):
        ticket.result(0)


@given(steps=st.lists(st.sampled_from(["submit", "open", "close"]), max_size=60), limit=st.integers(0, 5))
def test_whatever_happens_everybody_is_taken_once_in_order_refused_or_still_waiting(
    steps: list[str], limit: int
) -> None:
    door, engines = FrontDoor(limit), [Engine()]
    accepted: list[str] = []
    for number, step in enumerate(steps):
        if step == "open":
            engines.append(Engine())
            door.open(engines[-1])  # type: ignore[arg-type]
        elif step == "close":
            door.close()
        elif door.submit(request(number)) is not None:
            accepted.append(str(number))
    taken = [name for engine in engines for name in ids(engine.taken)]
    assert taken == accepted[: len(taken)]
    assert door.waiting == len(accepted) - len(taken) <= limit


def test_a_ticket_that_is_settled_has_its_answer() -> None:
    ticket = Ticket(request(1))
    ticket.saw_token()
    ticket.settle(Answer("1", "model", (1, 2, 3), "abc"))
    asked_s, first_s, answered_s = ticket.times_s
    assert asked_s <= first_s <= answered_s
    assert ticket.steady_tokens_per_s > 0

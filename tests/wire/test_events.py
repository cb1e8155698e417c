"""Events as lines of JSON."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swapbench.base.errors import WorkerError
from swapbench.wire.events import Note, decode_event, encode
from tests.scripted import play, scripted


def test_every_event_of_a_run_survives_the_wire() -> None:
    events = play(scripted([{"scenario": "up", "round": 1, "fails_in": "load"}]))
    assert [decode_event(encode(event)) for event in events] == events


@given(st.text(st.characters(exclude_categories=[])))
@example("/models/caf\udce9: no such file")
def test_an_event_is_one_line_whatever_it_says(text: str) -> None:
    line = encode(Note(text=text))
    assert line.count(b"\n") == 1
    assert decode_event(line) == Note(text=text.encode("utf-8", "replace").decode())


@given(st.binary(max_size=200))
def test_anything_else_is_a_worker_error(line: bytes) -> None:
    with pytest.raises(WorkerError):
        decode_event(line)


def test_an_unknown_event_is_a_worker_error() -> None:
    with pytest.raises(WorkerError, match="no event"):
        decode_event(b'{"event": "swap_dreamt"}')

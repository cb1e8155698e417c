"""Spoilt lines on the wire are events or a worker's failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.base.errors import WorkerError
from swapbench.wire.events import decode_event, encode
from swapbench.wire.swap import Message
from tests.fuzz.mutations import spoilt
from tests.scripted import play, scripted

pytestmark = pytest.mark.fuzz
LINES = sorted({encode(event) for event in play(scripted(rounds=1))})


@given(data=st.one_of(st.binary(max_size=300), *map(spoilt, LINES)))
def test_a_spoilt_line_is_an_event_or_a_failure_told_in_short(data: bytes) -> None:
    try:
        assert isinstance(decode_event(data), Message)
    except WorkerError as error:
        failure = str(error)
        assert len(failure) < 600
        assert "\n" not in failure

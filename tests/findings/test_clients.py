"""What clients felt, from requests made by hand."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.findings import analyse
from swapbench.findings.clients import ClientsFelt
from swapbench.wire.events import ClientRequest
from tests.findings.recording import Recording


def ask(recording: Recording, sent_s: float, **fields: Any) -> None:
    recording.writer.add_request(
        ClientRequest(
            **{
                "round": 0,
                "scenario": "up",
                "client": 1,
                "request": "r",
                "sent_s": sent_s,
                "outcome": "answered",
            }
            | fields
        )
    )


def felt(tmp_path: Path) -> ClientsFelt:
    """A swap of 3.2 s: one request before it, two during it, one after it."""
    recording = Recording(tmp_path)
    recording.swap(0, "up", first_token_s=0.3)
    ask(recording, -1.0, first_token_s=-0.8, answered_s=0.4, model="small")
    ask(recording, 0.5, first_token_s=3.5, answered_s=3.9, model="large", carried=True)
    ask(recording, 1.0, first_token_s=3.6, answered_s=4.0, model="large")
    ask(recording, 2.0, outcome="refused")
    ask(recording, 4.0, first_token_s=4.1, answered_s=4.5, model="large")
    (found,) = analyse(recording.run()).clients
    return found


def test_requests_are_counted_by_who_answered_them(tmp_path: Path) -> None:
    found = felt(tmp_path)
    assert (found.sent, found.answered_by_old, found.answered_by_new) == (5, 1, 3)
    assert (found.carried, found.refused, found.lost) == (1, 1, 0)


def test_waits_are_told_by_when_the_request_was_sent(tmp_path: Path) -> None:
    found = felt(tmp_path)
    assert found.wait_before is not None
    assert found.wait_before.point == pytest.approx(0.2)
    assert found.wait_during is not None
    assert (found.wait_during.low, found.wait_during.high) == pytest.approx((2.6, 3.0))
    assert found.wait_after is not None
    assert found.wait_after.point == pytest.approx(0.1)


def test_the_longest_stall_ends_with_the_new_models_first_token(tmp_path: Path) -> None:
    found = felt(tmp_path)
    # Between the old model's last answer, 0.4 s into the swap, and 3.5 s.
    assert found.longest_stall is not None
    assert found.longest_stall.point == pytest.approx(3.1)


def test_a_swap_that_does_not_count_is_not_felt(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", warmup=True)
    ask(recording, 0.5, outcome="lost")
    assert analyse(recording.run()).clients == ()


def test_a_run_without_clients_has_no_table_of_requests(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    run = recording.run()
    assert not (run.folder / "requests.csv").exists()
    assert run.requests.empty
    assert analyse(run).clients == ()

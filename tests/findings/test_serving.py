"""What clients wait, and what the new model answers."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.findings import analyse
from swapbench.findings.serving import ClientsFelt
from swapbench.report.sections.work import restores
from swapbench.wire.swap import ClientRequest
from tests.findings.recording import LARGE_BYTES, Recording
from tests.measured import planned


def ask(recording: Recording, sent_s: float, **fields: Any) -> None:
    recording.writer.add(
        ClientRequest(
            **{
                "swap": planned("up"),
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
    assert run.requests == ()
    assert analyse(run).clients == ()


RETURNED: dict[str, Any] = {
    "restored_caches": 2,
    "restored_tokens": 1000,
    "restored_bytes": 4_000_000_000,
    "restore_s": 2.0,
}
FILLED: dict[str, Any] = {"prefilled_tokens": 1000, "prefill_s": 50.0}


def test_a_load_that_puts_reading_off_leaves_less_resident_than_the_checkpoint_has(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    a_tenth = LARGE_BYTES // 10
    recording.swap(0, "up", active=[10, 10, 10, 10, 0, a_tenth, a_tenth, a_tenth, a_tenth])
    (up, _) = analyse(recording.run()).scenarios
    assert up.proof.resident_bytes is not None
    assert up.proof.resident_bytes.point == a_tenth


def test_second_request_rate_and_verified_tokens_are_those_of_the_counted_swaps(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number, rate in enumerate((50.0, 10.0, 12.0, 11.0)):
        recording.swap(
            number,
            "up",
            warmup=number == 0,
            second_first_token_s=1 / rate,
            steady_tokens_per_s=rate,
            verified_tokens=16,
            longest_stall_s=0.5,
        )
    proof = analyse(recording.run()).scenarios[0].proof
    assert proof.steady_tokens_per_s is not None
    assert (proof.steady_tokens_per_s.low, proof.steady_tokens_per_s.point) == (10.0, 11.0)
    assert proof.verified_tokens is not None
    assert (proof.verified_tokens.point, proof.verified_tokens.n) == (16, 3)


def test_restoring_is_set_against_prefilling_the_same_model(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(number, "up", **(RETURNED if number else {}))
        recording.swap(number, "down", **FILLED)
    (restores,) = analyse(recording.run()).restores
    assert restores.model == "large"
    assert restores.gb_per_s is not None
    assert restores.gb_per_s.point == pytest.approx(2.0)
    # 500 tokens a second read back, 20 computed.
    assert restores.factor == pytest.approx(25.0)


def test_where_nothing_was_prefilled_restoring_stands_alone(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", **RETURNED)
    (restores,) = analyse(recording.run()).restores
    assert (restores.prefill_tokens_per_s, restores.factor) == (None, None)


def test_of_servers_it_may_not_be_known_how_large_restored_caches_are(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", restored_caches=2, restored_tokens=1000, restored_bytes=None, restore_s=2.0)
    recording.swap(0, "down", **FILLED)
    findings = analyse(recording.run())
    (line,) = restores(findings)
    assert line.text.startswith("2 caches in 2.00 s, 25.0")


def test_a_run_without_returns_has_nothing_to_say_of_them(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert analyse(recording.run()).restores == ()

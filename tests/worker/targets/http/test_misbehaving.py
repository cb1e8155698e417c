"""Servers that misbehave: each is a failed swap with a clear reason, and the next swap goes on."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from swapbench.wire.events import GaveUp, RunFinished
from swapbench.wire.swap import SwapFinished
from swapbench.worker.targets.http import Endpoint
from swapbench.worker.targets.http.process import StartedServer
from tests.worker.targets.http.stand_in import IN_FLIGHT
from tests.worker.targets.http.standing import THERE, flights_of, play, play_here, preset, swaps_of

WHAT_IS_SAID = {
    "answers-500": 'answered 500: {"error": "CUDA is out of sorts"}',
    "no-json": 'said what is no JSON: {"choices": [',
    "no-stream": "answered application/json, not the event stream that was asked for",
    "no-text": "answered without any text",
}
LATER = {
    "endless": "streams on and on",
    "breaks-off": "hung up in the middle of its answer",
    "no-end": "closed its answer before the end",
}


STARTED = {
    "dies": "loading egg red | error: out of memory, giving up",
    "hangs": "no end of an answer within",
}


def failed(
    folder: Path, fault: str, *options: str, name: str = "mlx_lm"
) -> tuple[SwapFinished, SwapFinished]:
    """A swap there, in which the server misbehaves once, and one back."""
    once = ("--fault", fault, "--mark", str(folder / "mark"), *options)
    there, back = swaps_of(play_here(folder, name, *once, swap_timeout_s=3.0))
    return there, back


def failed_and_started(folder: Path, fault: str) -> tuple[SwapFinished, SwapFinished]:
    """As `failed`, of a server of our own, which can be started again."""
    server = preset("mlx_lm", "--fault", fault, "--mark", str(folder / "mark"))
    there, back = swaps_of(play(folder, server, swap_timeout_s=1.5))
    return there, back


@pytest.mark.parametrize("fault", sorted(WHAT_IS_SAID | STARTED))
def test_a_swap_that_goes_wrong_says_how_and_the_next_one_goes_on(fault: str, tmp_path: Path) -> None:
    there, back = (failed_and_started if fault in STARTED else failed)(tmp_path, fault)
    assert there.status == "rolled_back"
    assert there.error.startswith("the swap failed: ")
    assert (WHAT_IS_SAID | STARTED)[fault] in there.error
    assert (there.timing.total_s, there.timing.to_first_token_s) == (None, None)
    assert (back.status, back.error) == ("ok", "")


@pytest.mark.parametrize("fault", sorted(LATER))
def test_an_answer_that_goes_wrong_after_its_first_token_fails_the_swap_too(
    fault: str, tmp_path: Path
) -> None:
    there, back = failed(tmp_path, fault)
    assert there.status == "rolled_back"
    assert LATER[fault] in there.error
    assert back.status == "ok"


def test_a_model_that_is_not_swapped_at_all_is_told_by_its_answers(tmp_path: Path) -> None:
    there, back = swaps_of(play_here(tmp_path, "mlx_lm", "--fault", "stuck"))
    assert (there.status, back.status) == ("rolled_back", "failed")
    for swap in (there, back):
        assert "egg answers a prompt of 8 words word for word as ham does: the server" in swap.error


def test_one_that_names_the_model_that_answers_is_told_by_that(tmp_path: Path) -> None:
    (there, *_) = swaps_of(play_here(tmp_path, "ollama", "--fault", "wrong-model", "--honest"))
    assert there.status == "rolled_back"
    assert "asked for egg, and ham answers: the wrong model" in there.error


@pytest.mark.parametrize(
    ("fault", "recovery", "restarts"),
    [
        *(("answers-500", "itself", 0), ("sulks", "swap", 0), ("babbles", "swap", 0)),
        *(("wedges", "restart", 1), ("dies", "restart", 1)),
    ],
)
def test_whose_repair_brought_the_old_model_back_is_told(
    fault: str, recovery: str, restarts: int, tmp_path: Path
) -> None:
    there, back = failed_and_started(tmp_path, fault)
    assert (there.status, there.recovery, there.outcome.restarts) == ("rolled_back", recovery, restarts)
    assert (there.audit.readable, there.audit.broken) == (None, None)
    assert (back.status, back.recovery, back.outcome.restarts) == ("ok", None, 0)


def test_the_cause_stands_at_the_end_of_a_log_and_is_kept(tmp_path: Path) -> None:
    server = preset("mlx_lm", "--fault", "dies", "--mark", str(tmp_path / "mark"), "--chatter", "2000")
    there, _ = swaps_of(play(tmp_path, server))
    assert there.error.endswith("| error: out of memory, giving up")
    assert "/health" not in there.error.partition("its log ends:")[2]
    assert "\x1b" not in there.error


@pytest.mark.parametrize(
    "printed",
    [
        b"boom\n" + b'[GIN] 2026/11/30 - 12:00:00 | 200 | 26us | 127.0.0.1 | GET      "/api/version"\n' * 9,
        b"boom\n" + b'INFO: "GET /api/version?x=1 HTTP/1.1" 200\n' * 9,
        b"\x1b[31m\x1b(Bboom\x1b(B\x1b[m\x07\n",
    ],
)
def test_a_log_ends_with_what_is_worth_reading(printed: bytes, tmp_path: Path) -> None:
    assert tail(tmp_path, printed) == "boom"


def test_of_a_progress_bar_the_end_is_told(tmp_path: Path) -> None:
    bar = b"\r".join(b"loading %d %%" % share for share in range(0, 101, 10))
    assert tail(tmp_path, b"boom\n" + bar + b"\n") == "boom | loading 100 %"


def tail(folder: Path, printed: bytes) -> str:
    log = folder / "server.log"
    log.write_bytes(printed)
    return StartedServer(preset("ollama"), log, {}, "ham", Endpoint("")).tail(400)


def test_a_redirect_is_never_followed(tmp_path: Path) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)

    other = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{other.server_port}/v1/completions"
    there, back = failed(tmp_path, "redirects", "--elsewhere", url)
    other.shutdown()
    other.server_close()
    assert f"redirects to {url} (307), which is not followed" in there.error
    assert (there.status, back.status, asked) == ("rolled_back", "ok", [])


def test_a_server_that_is_never_ready_is_tried_twice_and_no_more(tmp_path: Path) -> None:
    server = preset("mlx_lm", "--fault", "never-ready", ready={"path": "/health", "timeout_s": 0.5})
    swaps = swaps_of(play(tmp_path, server, rounds=2))
    assert [swap.status for swap in swaps] == ["failed"] * 4
    assert "not ready within 0.5 s: GET /health answers 503; it printed nothing" in swaps[0].error
    assert "not started again: it failed 2 times in a row" in swaps[2].error


def test_one_that_ends_at_once_says_what_it_said(tmp_path: Path) -> None:
    swaps = swaps_of(play(tmp_path, preset("mlx_lm", "--fault", "cannot-start")))
    assert "the server ended with exit code 4; its log ends: no such model folder: /nowhere" in swaps[0].error


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    server = preset("mlx_lm").model_copy(
        update={"start": preset("mlx_lm").start.model_copy(update={"command": ("no-such-server", "{port}")})}  # type: ignore[union-attr]
    )
    swaps = swaps_of(play(tmp_path, server))
    assert "no-such-server: No such file or directory" in swaps[0].error


def test_a_server_that_is_not_ours_and_not_there_is_lost_without_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        swaps = swaps_of(play(tmp_path, preset("mlx_lm", start=None), url=url))
    assert all("Connection refused" in swap.error for swap in swaps)


def test_in_flight_requests_that_a_dying_server_takes_with_it_have_failed(tmp_path: Path) -> None:
    server = preset("mlx_lm", "--fault", "dies", "--mark", str(tmp_path / "mark"))
    work = {"requests": 2, "decode_tokens": 10_000}
    events = play(tmp_path, server, workload=work, swap_timeout_s=10.0, scenario=[THERE])
    there = swaps_of(events)[0]
    assert there.status == "rolled_back"
    outcomes = [flight.outcome for flight in flights_of(events) if flight.swap.scenario == "there"]
    assert len(outcomes) == 2
    assert set(outcomes) <= {"failed", "answered"}


def test_a_call_that_says_it_has_not_loaded_is_a_failure(tmp_path: Path) -> None:
    there, back = failed(tmp_path, "not-loaded", name="lm-studio")
    assert "status is 'loading', not 'loaded'" in there.error
    assert back.status == "ok"


def test_a_run_ends_when_all_is_tried(tmp_path: Path) -> None:
    events = play(tmp_path, preset("mlx_lm", "--fault", "dies"))
    assert isinstance(events[-1], RunFinished | GaveUp)


def test_the_length_by_which_the_stand_in_knows_requests_in_flight_is_nobody_elses() -> None:
    assert IN_FLIGHT not in (4, 8)

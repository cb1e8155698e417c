"""Who speaks in a stream, and whether it is over: what servers and proxies have been seen to send."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.spec.preset import Ask
from swapbench.wire.events import Note
from swapbench.wire.swap import SwapFinished
from swapbench.worker.targets.http.completion import text_of
from tests.worker.targets.http.stand_in import ERRORS
from tests.worker.targets.http.standing import THERE, play, play_here, preset, swaps_of

# As a preset for a model that reasons, through a proxy that tells of its progress as reasoning.
REASONS = {
    "path": "/v1/chat/completions",
    "body": {
        "model": "{model}",
        "messages": [{"role": "user", "content": "{prompt}"}],
        "max_tokens": "{max_tokens}",
        "stream": True,
    },
    "text": ["choices.0.delta.content", "choices.0.delta.reasoning_content"],
}
CHAT = REASONS | {"text": ["choices.0.delta.content"]}
PLAIN = {
    "body": {"model": "{model}", "prompt": "{prompt}", "max_tokens": "{max_tokens}", "stream": True},
}


def swaps(folder: Path, *options: str, ask: object = PLAIN, **changes: Any) -> list[SwapFinished]:
    return swaps_of(play_here(folder, "openai", *options, ask=ask, **changes))


@pytest.mark.parametrize("ask", [PLAIN, CHAT, REASONS], ids=["text", "chat", "reasoning"])
def test_what_a_proxy_says_while_a_model_loads_is_no_first_token(ask: object, tmp_path: Path) -> None:
    for swap in swaps(tmp_path, "--progress", "--load-s", "0.3", ask=ask):
        assert (swap.status, swap.error, swap.invalid_reason) == ("ok", "", "")
        assert swap.timing.to_first_token_s is not None
        assert swap.timing.to_first_token_s > 0.3
        assert swap.outcome.to_first_byte_s is not None
        assert swap.outcome.to_first_byte_s < 0.3


def test_a_first_token_that_comes_sooner_than_from_a_loaded_model_is_not_believed(tmp_path: Path) -> None:
    options = ("--progress", "--anonymous", "--load-s", "0.15", "--word-s", "0.02")
    for swap in swaps(tmp_path, *options, verify={"prompt_tokens": [8]}):
        assert (swap.status, swap.valid) == ("ok", False)
        assert "sooner than from the model once it is loaded" in swap.invalid_reason


@pytest.mark.parametrize("fault", sorted(ERRORS))
@pytest.mark.parametrize("after", ["0", "3"])
def test_an_answer_that_breaks_off_is_an_error_in_every_dialect(
    fault: str, after: str, tmp_path: Path
) -> None:
    options = ("--fault", fault, "--mark", str(tmp_path / "mark"), "--after", after)
    there, back = swaps(tmp_path, *options)
    assert there.status == "rolled_back"
    says = {"error-finish": "finish_reason error", "error-event-alone": "an error without words"}
    assert "/v1/completions: answered an error: " in there.error
    assert says.get(fault, "out of blocks") in there.error
    assert there.verified_tokens is None
    assert back.status == "ok"


def test_an_error_in_place_of_a_stream_is_told_in_the_servers_words(tmp_path: Path) -> None:
    there, _ = swaps(tmp_path, "--fault", "json-error", "--mark", str(tmp_path / "mark"))
    assert "answered an error: not enough memory for 9.1 GB" in there.error


def test_half_an_answer_lacks_the_finish_reason_that_whole_ones_have(tmp_path: Path) -> None:
    there, back = swaps(tmp_path, "--says-stop", "--fault", "half", "--mark", str(tmp_path / "mark"))
    assert "ended without a finish_reason, which its whole answers have" in there.error
    assert back.status == "ok"


def test_a_swap_that_the_old_model_answers_while_the_new_one_loads_is_none(tmp_path: Path) -> None:
    there, _ = swaps(tmp_path, "--stale")
    assert "the request that swapped to egg was answered word for word as ham answers it" in there.error


def test_prompts_that_a_server_has_no_room_for_are_left_out_and_that_is_noted(tmp_path: Path) -> None:
    server = preset("openai", "--context", "100", ask=PLAIN)
    events = play(tmp_path, server, verify={"prompt_tokens": [8, 512]}, known=False)
    assert [(swap.status, swap.error) for swap in swaps_of(events)] == [("ok", "")] * 2
    assert all(swap.verified_tokens for swap in swaps_of(events))
    notes = " ".join(event.text for event in events if isinstance(event, Note))
    assert "not verified by prompts of 512 words" in notes
    assert "context length exceeded" in notes


def test_an_end_that_only_a_finish_reason_tells_is_one(tmp_path: Path) -> None:
    assert [swap.error for swap in swaps(tmp_path, "--says-stop")] == ["", ""]


def test_a_hundred_events_without_text_are_waited_for(tmp_path: Path) -> None:
    assert [swap.error for swap in swaps(tmp_path, "--keep-alives", "100", ask=CHAT)] == ["", ""]


def test_text_in_parts_is_text(tmp_path: Path) -> None:
    _, back = swaps(tmp_path, "--parts", ask=CHAT)
    assert (back.error, back.verified_tokens) == ("", 16)


def test_parts_without_text_are_passed_over() -> None:
    ask = Ask(body={})
    parts = [
        {"type": "text", "text": "a"},
        {"type": "refusal", "text": None},
        {"text": {"value": "x"}},
        7,
        "b",
    ]
    assert text_of({"choices": [{"delta": {"content": parts}}]}, ask) == "ab"


@pytest.mark.parametrize("status", ["202", "503", "429"])
def test_who_is_told_to_come_later_does(status: str, tmp_path: Path) -> None:
    assert [swap.error for swap in swaps(tmp_path, "--busy", status)] == ["", ""]


def test_a_server_that_is_never_ready_to_answer_is_told_by_its_status(tmp_path: Path) -> None:
    ask = PLAIN | {"again": [404], "path": "/nowhere"}
    (swap,) = swaps(tmp_path, ask=ask, swap_timeout_s=0.75, scenario=[THERE])
    assert "still answers 404 after 0.6 s" in swap.error


def test_no_rate_is_told_of_an_answer_that_came_at_once(tmp_path: Path) -> None:
    # So many that a busy machine, which parses them one by one, does not look like a server that pauses.
    at_once = swaps(tmp_path, "--one-write", steady_tokens=64)
    assert {swap.steady.tokens_per_s for swap in at_once} == {None}


def test_a_rate_is_told_of_pieces_that_came_one_by_one(tmp_path: Path) -> None:
    for swap in swaps(tmp_path, "--pace-s", "0.005"):
        assert swap.steady.tokens_per_s is not None
        assert (swap.steady.tokens_per_s or 0) > 0


def test_an_error_names_the_url_that_was_asked_and_a_url_may_end_in_v1(tmp_path: Path) -> None:
    (swap,) = swaps(tmp_path, url="http://127.0.0.1:9/v1", scenario=[THERE])
    assert "POST http://127.0.0.1:9/v1/completions: " in swap.error


def test_a_url_keeps_its_v1_where_the_presets_own_paths_have_none(tmp_path: Path) -> None:
    ask = PLAIN | {"path": "/completions"}
    (swap,) = swaps(tmp_path, ask=ask, url="http://127.0.0.1:9/v1", scenario=[THERE])
    assert "POST http://127.0.0.1:9/v1/completions: " in swap.error

"""Whether the new model says what it should."""

import pytest

from swapbench.wire.plan import Reply
from swapbench.wire.swap import SwapFinished
from swapbench.worker.reference import MismatchError, compare
from swapbench.worker.session import run_session
from swapbench.worker.targets.scripted import ScriptedTarget
from tests.scripted import plan_of, scripted

SMALL = (Reply(prompt_tokens=8, tokens=(1, 2, 3)), Reply(prompt_tokens=64, tokens=(4, 5, 6)))
LARGE = (Reply(prompt_tokens=8, tokens=(1, 2, 3)), Reply(prompt_tokens=64, tokens=(7, 8, 9)))
EXPECTED = {"small": SMALL, "large": LARGE}


def test_equal_replies_are_counted_by_token() -> None:
    assert compare("large", "small", LARGE, EXPECTED) == 6


def test_the_first_token_that_differs_is_named() -> None:
    said = (LARGE[0], Reply(prompt_tokens=64, tokens=(7, 8, 1)))
    with pytest.raises(
        MismatchError, match="a prompt of 64 tokens otherwise than in a fresh process, from token 3"
    ):
        compare("large", "small", said, EXPECTED)


def test_a_reply_that_ends_early_differs_where_it_ends() -> None:
    said = (LARGE[0], Reply(prompt_tokens=64, tokens=(7,)))
    with pytest.raises(MismatchError, match="from token 2 on"):
        compare("large", "small", said, EXPECTED)


def test_long_prompts_that_the_old_model_still_answers_are_told_as_that() -> None:
    with pytest.raises(MismatchError, match="a prompt of 64 tokens as small does: the old model's weights"):
        compare("large", "small", SMALL, EXPECTED)


def _swaps(script: list[dict[str, object]]) -> list[SwapFinished]:
    plan = plan_of(scripted(script, rounds=2), expected=EXPECTED)
    events: list[object] = []
    run_session(plan, ScriptedTarget(plan), events.append, pid=1)
    return [event for event in events if isinstance(event, SwapFinished)]


def test_a_swap_whose_model_answers_rightly_is_verified() -> None:
    assert [(swap.status, swap.verified_tokens) for swap in _swaps([])] == [("ok", 6)] * 4


def test_a_mismatch_fails_the_swap_however_fast_it_was_and_the_old_model_comes_back() -> None:
    swaps = _swaps([{"scenario": "up", "round": 1, "answers_as": "small"}])
    assert [swap.status for swap in swaps] == ["ok", "ok", "rolled_back", "ok"]
    assert swaps[2].error.startswith("verifying failed: large answers a prompt of 64 tokens as small does")
    assert (swaps[2].timing.total_s, swaps[2].verified_tokens, swaps[2].failed_phase) == (None, None, None)


def test_a_model_without_expected_replies_is_not_verified() -> None:
    plan = plan_of(scripted(rounds=1), expected={"large": LARGE})
    events: list[object] = []
    run_session(plan, ScriptedTarget(plan), events.append, pid=1)
    swaps = [event for event in events if isinstance(event, SwapFinished)]
    assert [swap.verified_tokens for swap in swaps] == [6, None]

"""Faults committed on a server from outside: for real, in the swaps that they are meant for alone."""

import sys
from pathlib import Path

import pytest

from tests.worker.targets.http.standing import play, preset, swaps_of

SAYS = {
    "missing-model": ('answered 404: {"error": "no model swapbench/there-is-no-such-model"}', "itself"),
    "client-gone": ("the client went away in the middle of the swap, as the experiment wants", "itself"),
    "kill": ("the server was killed by SIGKILL", "restart"),
    "disk-full": ("its cache can't be written: File too large", "itself"),
}


@pytest.mark.parametrize("kind", sorted(SAYS))
@pytest.mark.slow
def test_a_fault_strikes_once_and_the_old_model_is_asked_first(kind: str, tmp_path: Path) -> None:
    if kind == "disk-full" and sys.platform != "linux":
        pytest.skip("a limit of another process can't be set here")
    says, recovery = SAYS[kind]
    options = ("--load-s", "0.5", "--writes", str(tmp_path / "cache"))
    fault = [{"kind": kind, "scenario": "there", "round": 0}]
    there, back, again, _ = swaps_of(play(tmp_path, preset("openai", *options), fault=fault, rounds=2))
    assert (there.status, there.fault, there.recovery) == ("rolled_back", kind, recovery)
    assert says in there.error
    assert [(swap.status, swap.error) for swap in (back, again)] == [("ok", "")] * 2


def test_a_server_that_answers_for_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    fault = [{"kind": "missing-model", "scenario": "there", "round": 0}]
    there, back = swaps_of(play(tmp_path, preset("openai", "--any-name"), fault=fault))
    assert (there.status, back.status) == ("rolled_back", "ok")
    assert "asked for a model that is not there, and another one answers" in there.error

"""What --verbose says."""

from pathlib import Path

from swapbench.report.explaining import explanations, opening
from swapbench.wire.events import StepStarted, SwapStarted, TurnStarted
from swapbench.wire.plan import Arm, scripted_checkpoints
from swapbench.wire.swap import SwapFinished
from tests.findings.test_progress import done
from tests.measured import planned
from tests.scripted import play, scripted


def said_of(event: SwapFinished | SwapStarted | StepStarted | TurnStarted, side: str = "") -> str:
    return "\n".join(explanations(event, scripted(page_cache="cold"), side))


def test_every_event_of_a_run_can_be_explained() -> None:
    experiment = scripted()
    said = [line for event in play(experiment) for line in explanations(event, experiment, "")]
    assert "up: small → large, strategy stock" in said
    assert any(line.startswith("  load 3.000 s") for line in said)
    assert "  9.1 times under the target of 30 s" in said


def test_no_mini_model_is_held_against_the_target() -> None:
    event = done("up", total_s=1.0)
    said = [" ".join(explanations(event, scripted(), "", claims=claims)) for claims in (True, False)]
    assert ["target" in words for words in said] == [True, False]


def test_the_page_cache_is_explained_where_it_is_prepared() -> None:
    assert "page cache cold: the new model's files are dropped" in said_of(
        StepStarted(swap=planned("up"), step="preparing")
    )


def test_an_invalid_swap_says_why_and_what_follows() -> None:
    said = said_of(done("up", valid=False, invalid_reason="40 % resident, not warm", resident_before=0.4))
    assert "invalid, and left out of statistics: 40 % resident, not warm" in said
    assert "40% of the new model's files were in the page cache before load" in said


def test_a_loader_says_why_it_was_chosen() -> None:
    assert "loaded by slab: fits twice" in said_of(done("up", loader="slab", loader_why="fits twice"))


def test_a_turn_names_its_side() -> None:
    assert said_of(TurnStarted(turn=3, arm="B"), "change") == "the turn of change, in a process of its own"


def test_the_opening_names_interpreter_models_and_strategies() -> None:
    experiment = scripted(strategy="map")
    arm = Arm("A", experiment, scripted_checkpoints(experiment), "/env/bin/python")
    interpreter, small, large, strategy = opening(arm, "base")
    assert interpreter.startswith("base: the worker runs /env/bin/python")
    assert small.startswith("base: small: ")
    assert Path("large").name in large
    assert strategy.startswith("base: strategy map: ")

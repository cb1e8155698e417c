"""The live view as text, and what --verbose says."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from swapbench.findings.progress import RunProgress, Standing
from swapbench.report.live import clock, explanations, live_lines, opening
from swapbench.spec.experiment import Source
from swapbench.wire.events import RoundStarted, StepStarted, SwapStarted, TurnStarted
from swapbench.wire.plan import Arm, scripted_checkpoints
from swapbench.wire.swap import MemorySample, Reading, SwapFinished
from tests.findings.test_progress import course, done
from tests.measured import planned
from tests.scripted import play, scripted


def standing() -> Standing:
    """In the load of the fourth of six swaps; the swap up missed its target once."""
    progress = RunProgress(course(), 0.0)
    progress.on(TurnStarted(turn=0), 0.0)
    progress.on(done("up", 0, 3.0), 10.0)
    progress.on(done("down", 0, 33.0), 20.0)
    progress.on(RoundStarted(swap=planned(round=1, warmup=False)), 20.0)
    progress.on(done("up", 1, 3.5), 30.0)
    progress.on(SwapStarted(swap=planned(round=1, warmup=False, scenario="down", strategy="stock")), 30.0)
    reading = Reading(footprint_bytes=6 * 2**30, mlx_active_bytes=5 * 2**30)
    progress.on(MemorySample(swap=planned(round=1, scenario="down"), t_s=1.0, ledgers=reading), 30.0)
    progress.on(StepStarted(step="load"), 31.0)
    return progress.standing(33.0)


def lines(width: int, at: Standing | None = None) -> list[str]:
    return live_lines(at or standing(), width).plain.split("\n")


def test_it_says_where_the_run_is() -> None:
    heading, course_line, now, memory, up, down = lines(100)
    assert heading == "quick  round 2/3  3 of 6 swaps, 2 rounds left"
    assert course_line == "━" * 38 + "─" * 39 + "  0:33, about 0:27 left"
    assert now == "phase load 2.0 s  down"
    assert memory.startswith("memory   6.00 GiB  █████░")
    assert "  of 24.00 GiB  (MLX 5.00 GiB, process 6.00 GiB)" in memory
    assert up.startswith("up        3.500 s  ██░")
    assert "12 % of 30 s  " in up
    assert "█" * 20 + "  110 % of 30 s" in down


@pytest.mark.parametrize("width", [60, 61, 80, 100, 132, 200])
def test_no_line_is_wider_than_the_terminal_and_the_figures_are_there(width: int) -> None:
    for line in lines(width):
        assert len(line) <= width
    assert "3.500 s" in lines(width)[4]
    assert "12 % of 30 s" in lines(width)[4]


def test_what_is_colour_is_told_without_colour() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, no_color=True)
    console.print(live_lines(standing(), 80))
    assert "\x1b[3" not in out.getvalue()


def test_a_failed_swap_says_why_in_its_row() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(done("up", total_s=1.0, status="rolled_back", error="load failed: out of memory"), 1.0)
    assert lines(80, progress.standing(1.0))[-1] == "up      rolled back: load failed: out of memory"


def test_many_kinds_of_swaps_show_those_that_changed_last() -> None:
    progress = RunProgress(course(), 0.0)
    for name in [*"abcdefghijkl", "a"]:
        progress.on(done(name), 1.0)
    shown = [line.split()[0] for line in lines(80, progress.standing(1.0))[4:]]
    assert shown == ["a", *"fghijkl"]


def test_before_anything_is_known_it_can_be_drawn() -> None:
    heading, course_line, now, memory = lines(60, RunProgress(course(), 0.0).standing(2.0))
    assert heading == "quick  3 rounds  0 of 6 swaps, 3 rounds left"
    assert course_line == "─" * 54 + "  0:02"
    assert (now, memory) == ("starting 2.0 s", "memory  not read yet")


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.4, "0:07"), (750, "12:30"), (3723, "1:02:03"), (59.9, "1:00")]
)
def test_time_is_told_as_on_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_one_round_is_one() -> None:
    one = (("", 0, "stock", "up"),)
    heading = lines(60, RunProgress(course(one, rounds=1), 0.0).standing(2.0))[0]
    assert heading == "quick  1 round  0 of 1 swaps, 1 round left"


LONG = "from-a-model-with-a-long-name-of-70b-8bit-to-another-with-a-long-name-of-8b-4bit"


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("step", ["reconfigure", "serving " + LONG])
def test_however_long_the_names_what_goes_on_and_for_how_long_is_there(width: int, step: str) -> None:
    progress = RunProgress(course(name=f"experiment-{LONG}"), 0.0)
    progress.on(RoundStarted(swap=planned(round=1, warmup=False)), 0.0)
    progress.on(SwapStarted(swap=planned(round=1, warmup=False, scenario=LONG, strategy="stock")), 0.0)
    progress.on(StepStarted(step=step), 1.0)
    heading, _, now, *_ = lines(width, progress.standing(13.0))
    assert now.startswith("phase reconfigure 12.0 s" if step == "reconfigure" else "serving from-a")
    assert " 12.0 s" in now
    assert "  round 2/3  0 of 6 swaps, " in heading
    assert max(map(len, (heading, now))) <= width
    if width >= 60:
        assert heading.startswith("exp")
        assert heading.endswith("3 rounds left")
    if step == "reconfigure":
        assert now.endswith("4bit")


def test_strategies_of_a_scenario_with_a_long_name_are_told_apart() -> None:
    progress = RunProgress(course(several_strategies=True), 0.0)
    for strategy in ("stock", "slab"):
        progress.on(done(LONG, strategy=strategy), 1.0)
    stock, slab = lines(80, progress.standing(1.0))[4:]
    assert stock.startswith("from-a-model-")
    assert (stock.split()[1], slab.split()[1]) == ("stock", "slab")


def test_a_terminal_obeys_nothing_that_a_message_or_a_name_says() -> None:
    progress = RunProgress(course(name="a\x1b[2J", arm_labels={"B": "b\x1b[31m"}), 0.0)
    progress.on(RoundStarted(swap=planned(round=0, arm="B")), 0.0)
    progress.on(SwapStarted(swap=planned(round=0, warmup=False, scenario="u\x1bp", strategy="stock")), 0.0)
    progress.on(StepStarted(step="serving \x9b2J"), 0.0)
    progress.on(done("up", arm="B", status="failed", error="load failed:\x1b]0;title\x07 \x9b1m"), 1.0)
    told = live_lines(progress.standing(1.0), 80).plain
    assert all(sign.isprintable() for sign in told.replace("\n", ""))
    assert "load failed:]0;title 1m" in told


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ((Source.MINI,), "quick on mini models"),
        ((Source.LOCAL,), "quick on local models"),
        ((Source.HUB, Source.MINI), "quick on hub, mini models"),
    ],
)
def test_what_models_are_is_said_but_of_the_published_ones(sources: tuple[Source, ...], said: str) -> None:
    heading = lines(100, RunProgress(course(sources=sources), 0.0).standing(2.0))[0]
    assert heading.startswith(f"{said}  3 rounds")


@pytest.mark.parametrize("sources", [(Source.MINI,), (Source.HUB, Source.MINI)])
def test_no_mini_model_is_held_against_the_target(sources: tuple[Source, ...]) -> None:
    progress = RunProgress(course(sources=sources), 0.0)
    progress.on(done("up", 0, 3.0), 10.0)
    row = lines(100, progress.standing(11.0))[-1]
    assert row.startswith("up        3.000 s")
    assert "of 30 s" not in row


def test_a_swap_whose_total_is_lost_in_noise_is_no_failure_and_shows_its_first_token() -> None:
    progress = RunProgress(course(), 0.0)
    progress.on(done("up", total_s=None, to_first_token_s=1.12), 1.0)
    shown = live_lines(progress.standing(1.0), 100).plain
    assert "1.120 s  to the first token" in shown
    assert "ok:" not in shown


def said_of(event: SwapFinished | SwapStarted | StepStarted | TurnStarted, side: str = "") -> str:
    return "\n".join(explanations(event, scripted(page_cache="cold"), side))


def test_every_event_of_a_run_can_be_explained() -> None:
    experiment = scripted()
    said = [line for event in play(experiment) for line in explanations(event, experiment, "")]
    assert "up: small → large, strategy stock" in said
    assert any(line.startswith("  load 3.000 s") for line in said)
    assert "  9.1 times under the target of 30 s" in said


def test_nothing_is_said_of_the_target_of_a_mini_model() -> None:
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

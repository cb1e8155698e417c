"""Runs side by side: what is compared with what, and when nothing may be said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import Exit
from swapbench.compare.change import Verdict
from swapbench.compare.comparison import Comparison, Side, compare_arms, compare_runs, exit_code
from swapbench.store import Run
from tests.played import a_run, as_if, loads, pairs
from tests.scripted import raw_experiment, scripted

TEN: dict[str, Any] = {"rounds": 10, "warmup": 1}
NOISE = [3.00, 3.02, 2.98, 3.01, 2.99, 3.03, 2.97, 3.00, 3.02, 2.98, 3.01]


def times(factor: float) -> list[dict[str, Any]]:
    """Swaps up whose load takes that many times as long as NOISE, with a noise of its own."""
    return loads("up", [factor * load_s for load_s in reversed(NOISE)])


def paired(out: Path, factor: float, **changes: Any) -> Comparison:
    """`up` of B takes `factor` times as long to load, `down` is the same in both."""
    both = TEN | changes
    return compare_arms(pairs(out, scripted(loads("up", NOISE), **both), scripted(times(factor), **both)))


def apart(a: Run, b: Run, **options: Any) -> Comparison:
    return compare_runs(Side("one", a), Side("other", b), **options)


def test_what_is_slower_is_found_in_its_scenario_and_its_phase(tmp_path: Path) -> None:
    found = paired(tmp_path, 1.3)
    up, down = found.scenarios
    assert (up.scenario, up.figure, up.headline.verdict) == ("up", "to_first_token", Verdict.SLOWER)
    assert up.headline.ratio is not None
    assert up.headline.ratio.low < 1 + 0.9 / 3.4 < up.headline.ratio.high
    assert down.headline.verdict is Verdict.NO_WORSE
    assert found.regressions == ("up",)
    verdicts = {change.figure: change.verdict for change in up.phases}
    assert verdicts["load"] is Verdict.SLOWER
    assert verdicts["drain"] is Verdict.NO_WORSE
    assert exit_code(found) is Exit.REGRESSION


def test_what_is_faster_is_fine(tmp_path: Path) -> None:
    found = paired(tmp_path, 0.5)
    assert found.scenarios[0].headline.verdict is Verdict.FASTER
    assert exit_code(found, strict=True) is Exit.OK


def test_the_margin_is_the_experiment_s_unless_another_is_given(tmp_path: Path) -> None:
    run = pairs(tmp_path, scripted(loads("up", NOISE), **TEN), scripted(times(1.3), **TEN))
    assert compare_arms(run).margin == 0.05
    wide = compare_arms(run, 0.5)
    assert (wide.margin, wide.regressions) == (0.5, ())


def test_turns_and_arms_are_told_as_they_were(tmp_path: Path) -> None:
    found = paired(tmp_path, 1.0, rounds=6)
    assert (found.paired, found.pair_order, found.turns) == (True, "abba", "ABBAABBAABBAAB")
    assert (found.a.label, found.b.label) == ("A", "B")
    assert found.a.run_id == found.b.run_id
    assert found.a.counts.counted == 12


def test_arms_are_the_same_only_where_nothing_was_set_apart(tmp_path: Path) -> None:
    alike = scripted(loads("up", NOISE), **TEN)
    assert compare_arms(pairs(tmp_path, alike, alike)).same
    assert not paired(tmp_path, 1.0).same


def test_warm_up_rounds_are_in_no_pair(tmp_path: Path) -> None:
    found = compare_arms(
        pairs(tmp_path, scripted(**TEN), scripted(loads("up", [99.0]), **TEN)),
    )
    assert found.scenarios[0].headline.ratio is not None
    assert found.scenarios[0].headline.ratio.n == 10
    assert found.scenarios[0].headline.ratio.high == pytest.approx(1.0)


def test_a_round_in_which_one_side_failed_is_no_pair_and_the_run_has_failed(tmp_path: Path) -> None:
    failing = scripted([{"scenario": "up", "round": 4, "fails_in": "load"}], **TEN)
    found = compare_arms(pairs(tmp_path, scripted(**TEN), failing, ("old", "new")))
    assert found.scenarios[0].headline.ratio is not None
    assert found.scenarios[0].headline.ratio.n == 9
    assert found.failed_swaps == 1
    assert "new: 1 swap failed or invalid, and left out" in found.notes
    assert exit_code(found) is Exit.FAILED


def test_five_pairs_are_too_few_to_say_anything(tmp_path: Path) -> None:
    up = paired(tmp_path, 1.3, rounds=5).scenarios[0]
    assert up.headline.verdict is Verdict.INCONCLUSIVE
    assert up.detectable is None


def test_a_small_change_among_many_scenarios_needs_more_than_one_among_few(tmp_path: Path) -> None:
    """Six pairs carry a p-value of 1/64: enough for three scenarios at once, not for four."""
    for count, verdict in ((3, Verdict.SLOWER), (4, Verdict.INCONCLUSIVE)):
        names = [f"up-{n}" for n in range(count)]
        six: dict[str, Any] = {
            "rounds": 6,
            "warmup": 0,
            "scenario": [{"name": name, "from": "small", "to": "large"} for name in names],
        }
        slow = scripted([{"scenario": names[0], "seconds": {"load": 3.9}}], **six)
        found = compare_arms(pairs(tmp_path / str(count), scripted(**six), slow))
        headline = found.scenarios[0].headline
        assert headline.ratio is not None
        assert headline.ratio.low > 1.05
        assert headline.verdict is verdict


def test_a_change_that_it_calls_detectable_is_the_margin_where_nothing_scatters(tmp_path: Path) -> None:
    up = paired(tmp_path, 1.0).scenarios[0]
    calm = compare_arms(pairs(tmp_path, scripted(**TEN), scripted(**TEN))).scenarios[0]
    assert calm.detectable == pytest.approx(0.05)
    assert up.detectable is not None
    assert 0.05 < up.detectable < 0.1


def test_a_phase_of_no_consequence_is_not_judged_however_much_it_grows(tmp_path: Path) -> None:
    seconds = {"drain": 0.001, "load": 3.0}
    slower = {"drain": 0.004, "load": 3.0}
    base, change = (scripted([{"scenario": "up", "seconds": played}], **TEN) for played in (seconds, slower))
    phases = {c.figure: c for c in compare_arms(pairs(tmp_path, base, change)).scenarios[0].phases}
    assert phases["drain"].ratio is not None
    assert phases["drain"].ratio.point == pytest.approx(4.0)
    assert phases["drain"].verdict is Verdict.TOO_SHORT


def test_a_phase_that_takes_no_time_was_measured_all_the_same(tmp_path: Path) -> None:
    (evict,) = [c for c in paired(tmp_path, 1.0).scenarios[0].phases if c.figure == "evict"]
    assert (evict.verdict, evict.ratio) == (Verdict.TOO_SHORT, None)
    assert evict.a is not None
    assert evict.a.point == 0


def test_memory_that_is_held_after_a_swap_is_compared(tmp_path: Path) -> None:
    heavier = scripted(**TEN).model_dump(mode="json", by_alias=True)
    heavier["script"]["model_bytes"]["large"] *= 2
    up = compare_arms(pairs(tmp_path, scripted(**TEN), scripted(**heavier))).scenarios[0]
    verdicts = {change.figure: change.verdict for change in up.memory}
    assert verdicts["settled MLX active"] is Verdict.MORE
    assert exit_code(compare_arms(pairs(tmp_path, scripted(**TEN), scripted(**heavier)))) is Exit.OK


def test_without_a_first_token_the_total_is_compared_and_that_is_said(tmp_path: Path) -> None:
    found = paired(tmp_path, 1.3, first_token=False)
    assert found.scenarios[0].figure == "total"
    assert any("first token left out" in note for note in found.notes)


def test_runs_apart_are_told_to_be_apart(tmp_path: Path) -> None:
    one = a_run(tmp_path, loads("up", NOISE), **TEN)
    found = apart(one, as_if(a_run(tmp_path, times(1.3), **TEN), one))
    assert not found.paired
    assert found.regressions == ("up",)
    assert found.notes[0].startswith("separate runs: ")
    assert exit_code(found) is Exit.REGRESSION


def test_runs_apart_may_have_unlike_numbers_of_rounds(tmp_path: Path) -> None:
    found = apart(a_run(tmp_path, rounds=6), a_run(tmp_path, rounds=10))
    assert found.comparable
    assert found.scenarios[0].headline.ratio is not None
    assert found.scenarios[0].headline.ratio.n == 6


def test_a_failed_swap_in_one_of_two_runs_apart_is_said_and_is_no_failure_of_comparing(
    tmp_path: Path,
) -> None:
    fine = a_run(tmp_path, **TEN)
    failing = a_run(tmp_path, [{"scenario": "up", "round": 2, "fails_in": "load"}], **TEN)
    found = apart(as_if(failing, fine), fine)
    assert any("one: 1 swap failed" in note for note in found.notes)
    assert exit_code(found) is Exit.OK


def test_runs_that_can_not_be_compared_have_figures_and_no_verdicts(tmp_path: Path) -> None:
    found = apart(a_run(tmp_path, **TEN), a_run(tmp_path, times(2.0), target_s=5.0, steady_tokens=1, **TEN))
    assert not found.comparable
    assert next(d.what for d in found.differences if d.decisive) == "steady_tokens"
    for scenario in found.scenarios:
        assert scenario.headline.verdict is Verdict.NOT_COMPARABLE
        assert scenario.headline.ratio is not None
        assert scenario.detectable is None
        assert {c.verdict for c in scenario.phases} == {Verdict.NOT_COMPARABLE}
    assert (exit_code(found), exit_code(found, strict=True)) == (Exit.OK, Exit.INCONCLUSIVE)


def test_a_scenario_that_only_one_run_has_is_named(tmp_path: Path) -> None:
    both = a_run(tmp_path, **TEN)
    one = a_run(tmp_path, scenario=[{"name": "up", "from": "small", "to": "large"}], **TEN)
    found = apart(both, one)
    assert [s.scenario for s in found.scenarios] == ["up"]
    assert "only in one: down" in found.notes


def test_a_run_that_was_cut_short_says_so(tmp_path: Path) -> None:
    run = a_run(tmp_path, **TEN)
    cut = replace(run, info=run.info.model_copy(update={"status": "interrupted"}))
    assert "other: the run is interrupted" in apart(run, cut).notes


def test_a_run_of_two_arms_that_broke_off_has_failed(tmp_path: Path) -> None:
    run = pairs(tmp_path, scripted(**TEN), scripted(**TEN))
    broken = replace(run, info=run.info.model_copy(update={"status": "incomplete"}))
    assert exit_code(compare_arms(run)) is Exit.OK
    assert exit_code(compare_arms(broken)) is Exit.FAILED


def test_a_leak_that_only_the_other_run_has_exits_with_5(tmp_path: Path) -> None:
    script = raw_experiment()["script"]
    tight = a_run(tmp_path, rounds=24)
    leaking = as_if(a_run(tmp_path, rounds=24, script=script | {"leak_bytes": 50_000_000}), tight)
    found = apart(tight, leaking)
    active = {leak.ledger: (leak.a.outcome, leak.b.outcome) for leak in found.leaks}
    assert active["mlx_active"] == ("clean", "leak")
    assert exit_code(found) is Exit.LEAK
    assert exit_code(apart(leaking, tight)) is Exit.OK
    assert exit_code(apart(leaking, leaking)) is Exit.OK


def test_strictly_what_is_undecided_exits_with_6(tmp_path: Path) -> None:
    few = paired(tmp_path, 1.0, rounds=3)
    assert (exit_code(few), exit_code(few, strict=True)) == (Exit.OK, Exit.INCONCLUSIVE)
    assert exit_code(replace(few, scenarios=()), strict=True) is Exit.INCONCLUSIVE


def test_a_run_of_several_strategies_is_compared_cell_by_cell(tmp_path: Path) -> None:
    two = a_run(tmp_path, strategy=["stock", "slab"], rounds=6)
    assert [s.scenario for s in apart(two, two).scenarios] == [
        "up (stock)",
        "up (slab)",
        "down (stock)",
        "down (slab)",
    ]


def test_a_swap_of_a_model_for_itself_is_said_to_be_a_reload(tmp_path: Path) -> None:
    again = scripted(scenario=[{"name": "again", "from": "small", "to": "small"}], rounds=6)
    found = compare_arms(pairs(tmp_path, again, again))
    assert found.notes == ("again: both models are the same: this is a reload, no swap for another",)

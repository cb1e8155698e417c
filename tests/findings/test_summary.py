"""Figures of a scenario, by hand; ranks of a sharded one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.base.phases import PHASES
from swapbench.findings import Findings, analyse
from swapbench.findings.summary import ScenarioSummary, count
from swapbench.findings.swaps import swaps_of
from swapbench.report.forms import to_markdown
from swapbench.spec.experiment import Source
from tests.findings.recording import LARGE_BYTES, Recording, checkpoints


def up(recording: Recording) -> ScenarioSummary:
    return analyse(recording.run()).scenarios[0]


def test_figures_are_medians_over_the_counted_swaps(tmp_path: Path) -> None:
    recording = Recording(tmp_path, warmup=1)
    recording.swap(0, "up", {"load": 100.0}, warmup=True)
    for number, load_s in enumerate((2.0, 4.0, 3.0), start=1):
        recording.swap(number, "up", {"load": load_s, "drain": 1.0})
    recording.swap(4, "up", {"load": 200.0}, valid=False, invalid_reason="labelled warm, was cold")
    summary = up(recording)
    assert summary.total is not None
    assert (summary.total.point, summary.total.low, summary.total.high, summary.total.n) == (4.0, 3.0, 5.0, 3)
    load = next(phase for phase in summary.phases if phase.phase == "load")
    assert load.seconds is not None
    assert load.seconds.point == 3.0


def test_every_swap_is_in_one_count(tmp_path: Path) -> None:
    recording = Recording(tmp_path, warmup=1)
    recording.swap(0, "up", warmup=True)
    recording.swap(1, "up")
    recording.swap(2, "up", valid=False)
    recording.failed_swap(3, "up")
    recording.failed_swap(4, "up", status="rolled_back")
    counts = count(swaps_of(recording.run()))
    assert (counts.counted, counts.warmup, counts.invalid, counts.failed, counts.rolled_back) == (
        1,
        1,
        1,
        1,
        1,
    )


def test_the_headline_is_the_first_token_where_it_was_measured(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, first_token_s=0.5)
    summary = up(recording)
    assert summary.headline is not None
    assert (summary.headline_is, summary.headline.point) == ("to_first_token", 3.5)


def test_without_a_first_token_the_total_is_the_headline_and_a_note_says_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    findings = analyse(recording.run())
    assert findings.scenarios[0].headline_is == "total"
    assert any(note.startswith("first token left out") for note in findings.notes)


def test_a_first_token_missing_from_one_swap_makes_no_headline(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", first_token_s=0.5)
    recording.swap(1, "up")
    assert up(recording).headline_is == "total"


def test_phases_are_held_against_the_expected_range(tmp_path: Path) -> None:
    recording = Recording(tmp_path, expected_s={"load": [4.0, 5.0], "drain": [0.0, 1.0], "reinit": [0, 0.1]})
    recording.swap(0, "up", {"load": 3.0, "drain": 1.0, "reinit": 0.2})
    found = {phase.phase: phase.expectation for phase in up(recording).phases}
    assert (found["load"], found["drain"], found["reinit"]) == ("below", "within", "above")
    assert found["evict"] is None


def test_the_bottleneck_is_the_phase_with_the_greatest_share_and_has_its_spans(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    spans = {"load/read": 2.4, "load/tokenizer": 0.5, "evict/write": 0.1, "evict/write/agent-1": 0.1}
    recording.swap(0, "up", {"load": 3.0, "unload": 1.0}, spans=spans)
    found = up(recording).bottleneck
    assert found is not None
    assert (found.phase, found.share, found.longest_in, found.n) == ("load", 0.75, 1, 1)
    assert [span.name for span in found.spans] == ["load/read", "load/tokenizer"]
    assert [span.share_of_phase for span in found.spans] == pytest.approx([0.8, 1 / 6])


def test_the_bottlenecks_share_is_of_the_headline(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0, "unload": 1.0}, first_token_s=2.0)
    found = up(recording)
    assert found.bottleneck is not None
    assert found.headline is not None
    assert (found.headline.point, found.bottleneck.share) == (6.0, 0.5)


def test_where_a_total_is_lost_in_noise_no_other_is_told_and_the_headline_stands_in(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number, (total_s, token_s) in enumerate([(None, 1.0), (None, 1.12), (2.27, 2.95)]):
        recording.swap(number, "up", total_s=total_s, to_first_token_s=token_s)
    found = up(recording)
    assert found.total is None
    assert found.against_target is not None
    assert (found.against_target.figure, found.against_target.seconds) == ("to_first_token", 1.12)
    assert found.against_target.n == 3
    note = "up: 2 of 3 swaps took no longer than the same request hot, so no total is told"
    assert note in analyse(recording.run()).notes


def test_totals_are_told_in_times_under_or_over_the_target(tmp_path: Path) -> None:
    recording = Recording(tmp_path, target_s=4.0)
    recording.swap(0, "up", {"load": 1.0})
    recording.swap(0, "down", {"load": 10.0})
    there, back = (scenario.against_target for scenario in analyse(recording.run()).scenarios)
    assert there is not None
    assert back is not None
    assert (there.side, there.factor, there.swaps_under) == ("under", 4.0, 1)
    assert there.reliability == pytest.approx(0.05)
    assert (back.side, back.factor, back.swaps_under, back.reliability) == ("over", 2.5, 0, 0.0)


def test_mini_models_are_held_against_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path, source=Source.MINI, expected_s={"load": [10, 20]})
    recording.swap(0, "up")
    summary = up(recording)
    assert summary.against_target is None
    assert {phase.expected_s for phase in summary.phases} == {None}
    assert summary.total is not None


def test_work_under_load_is_summed_up(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(
        0,
        "up",
        {"evict": 0.6, "load": 3.0},
        spans={"evict/write": 0.5, "evict/write/a": 0.2, "evict/write/b": 0.3},
        drained_requests=3,
        carried_requests=1,
        answered_requests=4,
        evicted_caches=2,
        evicted_bytes=1_000_000_000,
    )
    work = up(recording).workload
    assert work.busy
    assert work.evict_gb_per_s is not None
    assert work.evict_gb_per_s.point == pytest.approx(2.0)
    assert work.cache_write_s is not None
    assert (work.cache_write_s.point, work.cache_write_s.n) == (0.25, 2)


def test_an_idle_engine_is_noted(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert any("drain and evict had nothing to do" in note for note in analyse(recording.run()).notes)


@pytest.mark.parametrize("to", ["small", "large"])
def test_a_swap_of_a_model_for_itself_by_whatever_name_is_noted_as_a_reload(tmp_path: Path, to: str) -> None:
    scenario = {"name": "again", "from": "small", "to": to}
    both = tuple(model.model_copy(update={"path": Path("/models/one")}) for model in checkpoints())
    recording = Recording(tmp_path, scenario=[scenario], found=both)
    recording.swap(0, "again")
    assert (
        "again: both models are the same: this is a reload, no swap for another"
        in analyse(recording.run()).notes
    )


def test_a_swap_for_another_model_is_not(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert not any("reload" in note for note in analyse(recording.run()).notes)


def test_unattributed_time_over_one_percent_is_explained_by_the_observers_cost(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 0.9}, total_s=1.0, unattributed_s=0.1, probe_s=0.08)
    notes = analyse(recording.run()).notes
    assert "up: 10.0% of the swap is in no phase (0.100 s, 0.080 s of it swapbench's own)" in notes


def test_a_wait_that_the_experiment_asks_for_is_no_cost_of_looking(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(
        0, "up", {"load": 0.9}, total_s=1.0, unattributed_s=0.1, probe_s=0.08, release_settle_s=0.07
    )
    said = "0.080 s of it swapbench's own, which waited 0.070 s for memory to settle (settle_after_unload)"
    assert any(said in note for note in analyse(recording.run()).notes)


def test_phases_that_do_not_add_up_are_noted(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 0.9}, total_s=1.0, unattributed_s=0.0)
    assert any("do not add up" in note for note in analyse(recording.run()).notes)


def test_memory_that_goes_to_swap_is_noted(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.sample(0, "up", t_s=1.5, active=0, swap_used=0)
    recording.sample(0, "up", t_s=2.5, active=0, swap_used=2 << 30)
    recording.swap(0, "up")
    assert any("2.00 GiB went to the machine's swap" in note for note in analyse(recording.run()).notes)


durations = st.dictionaries(st.sampled_from([str(phase) for phase in PHASES]), st.floats(0, 100), min_size=1)


@settings(max_examples=15)
@given(swaps=st.lists(st.tuples(durations, st.floats(0, 5)), min_size=1, max_size=5))
def test_shares_sum_to_one_and_medians_lie_within_their_spread(
    tmp_path_factory: pytest.TempPathFactory, swaps: list[tuple[dict[str, float], float]]
) -> None:
    recording = Recording(tmp_path_factory.mktemp("run"))
    for number, (seconds, unattributed_s) in enumerate(swaps):
        total_s = sum(seconds.values()) + unattributed_s
        recording.swap(number, "up", seconds, total_s=total_s, unattributed_s=unattributed_s)
    findings = analyse(recording.run())
    check_shares(findings)
    for phase in findings.scenarios[0].phases:
        assert phase.seconds is not None
        assert phase.seconds.low <= phase.seconds.point <= phase.seconds.high


def check_shares(findings: Findings) -> None:
    summary = findings.scenarios[0]
    shares = [phase.share for phase in summary.phases if phase.share is not None]
    if summary.total is None or summary.total.high < 1e-6:
        return  # nanoseconds are all that a file holds
    assert summary.unattributed.share is not None
    assert sum(shares) + summary.unattributed.share == pytest.approx(1)


def found(tmp_path: Path, *, warmup: int = 0) -> Findings:
    """Three swaps of two ranks: the second takes 2 s longer than the first, which waits for it."""
    recording = Recording(tmp_path)
    for number in range(3):
        phases = {"unload": 0.5}
        recording.swap(number, "up", phases, total_s=3.6, warmup=number < warmup)
        recording.ranks(number, "up", (1.0, 2.05), (3.0, 0.1))
    return analyse(recording.run())


def test_the_phase_is_the_row_of_all_ranks_and_no_single_ranks(tmp_path: Path) -> None:
    findings = found(tmp_path)
    load = next(phase for phase in findings.scenarios[0].phases if phase.phase == "load")
    assert load.seconds is not None
    assert load.seconds.point == pytest.approx(3.1)


def test_a_ranks_own_work_leaves_out_what_it_waited(tmp_path: Path) -> None:
    (shared,) = found(tmp_path).sharing
    work = [rank.load.point for rank in shared.ranks if rank.load is not None]
    waits = [rank.barrier.point for rank in shared.ranks if rank.barrier is not None]
    assert work == pytest.approx([1.0, 3.0])
    assert waits == pytest.approx([2.05, 0.1])


def test_the_skew_and_each_ranks_bytes_are_told(tmp_path: Path) -> None:
    (shared,) = found(tmp_path).sharing
    assert shared.skew is not None
    assert shared.skew.point == pytest.approx(2.0)
    weights = [rank.weights.point for rank in shared.ranks if rank.weights is not None]
    assert weights == [LARGE_BYTES // 2] * 2


def test_warm_up_swaps_are_left_out(tmp_path: Path) -> None:
    (shared,) = found(tmp_path, warmup=1).sharing
    assert shared.skew is not None
    assert shared.skew.n == 2


def test_a_target_of_one_process_has_no_ranks(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert analyse(recording.run()).sharing == ()


def test_reports_show_every_rank(tmp_path: Path) -> None:
    findings = found(tmp_path)
    shown = to_markdown(findings)
    assert "**Ranks, median**" in shown
    assert "| rank 1 | 3.00 s |" in shown
    assert "| skew 2.00 s |" in shown

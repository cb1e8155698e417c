"""A run in one line, never better than its exit code."""

from pathlib import Path

from swapbench.base.errors import Exit
from swapbench.findings import Overall, analyse, exit_code, overall
from swapbench.report.sections.overview import verdict_line
from swapbench.spec.experiment import Source
from swapbench.store import Run
from tests.findings.recording import LARGE_BYTES, Recording, reading


def of(run: Run) -> Overall:
    findings = analyse(run)
    said = overall(findings)
    # Red exactly where the exit code is.
    assert (said.grade == "bad") == (exit_code(findings) is not Exit.OK)
    assert said.grade != "good" or exit_code(findings, strict=True) is Exit.OK
    # Markdown says the same as the page.
    assert verdict_line(findings).tone == said.grade
    return said


def test_a_swap_that_failed_is_said_first(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 99.0})
    recording.failed_swap(1, "up")
    assert of(recording.run()).text == "1 swap failed"


def test_a_run_that_broke_off_says_how_far_it_came(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    said = of(recording.run("incomplete", failure="killed"))
    assert said.text == "The run is not complete"
    assert said.because[0].startswith("1 of 6 swaps done")


def test_an_interrupted_run_is_no_failure(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    assert of(recording.run("interrupted")).grade == "doubt"


def test_a_missed_target_says_which(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 99.0})
    said = of(recording.run())
    assert said.text == "1 criterion not met"
    assert "99.0 s" in said.because[0] or "over" in said.because[0]


def test_a_leak_is_a_criterion_not_met(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=20)
    for number in range(20):
        recording.swap(number, "up", settled=reading(LARGE_BYTES + number * (50 << 20)))
    assert "not met" in of(recording.run()).text


def test_what_is_not_judged_is_neither_met_nor_in_doubt(tmp_path: Path) -> None:
    recording = Recording(
        tmp_path, source=Source.MINI, criterion=[{"kind": "all-under-target", "title": "all under 30 s"}]
    )
    recording.swap(0, "up")
    said = of(recording.run())
    assert said.grade == "good"
    assert said.text == (
        "Every swap succeeded; no criterion was judged; undeclared and undecided: no memory leak across swaps"
    )


def test_a_reason_that_several_criteria_share_is_said_once(tmp_path: Path) -> None:
    titles = [{"kind": "all-under-target", "title": title} for title in ("under 30 s", "under 30 s again")]
    recording = settled(Recording(tmp_path, source=Source.MINI, criterion=titles))
    said = of(recording.run())
    assert (said.grade, said.text) == ("good", "Every swap succeeded; no criterion was judged")
    assert said.because == ("mini models: their times say nothing about the real ones",)


def settled(recording: Recording) -> Recording:
    """So many swaps whose memory stays that nothing leaks."""
    for number in range(12):
        for scenario in ("up", "down"):
            recording.swap(number, scenario, settled=reading(LARGE_BYTES))
    return recording


TARGET = {"kind": "all-under-target", "title": "all under 30 s"}
BOTTLENECK = {"kind": "bottleneck-identified"}


def test_all_criteria_met_is_green(tmp_path: Path) -> None:
    recording = settled(Recording(tmp_path, criterion=[TARGET]))
    assert of(recording.run()) == Overall("good", "Every criterion is met", ())


def test_every_criterion_is_not_met_where_a_leak_that_nobody_declared_is_inconclusive(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[TARGET])
    recording.swap(0, "up")
    recording.swap(0, "down")
    said = of(recording.run())
    assert said.grade == "good"
    assert said.text == (
        "Every declared criterion is met; undeclared and undecided: no memory leak across swaps"
    )


def test_a_mini_run_says_what_of_it_is_not_judged_and_is_fine(tmp_path: Path) -> None:
    recording = settled(Recording(tmp_path, source=Source.MINI, criterion=[TARGET, BOTTLENECK]))
    said = of(recording.run())
    assert (said.grade, said.text) == ("good", "1 of 2 criteria met, 1 not judged")


def test_an_invalid_swap_keeps_a_run_from_being_green(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[TARGET])
    recording.swap(0, "up")
    recording.swap(0, "down")
    recording.swap(1, "up", valid=False, invalid_reason="labelled cold, but 6 % was resident")
    assert of(recording.run()) == Overall("doubt", "1 swap left out as invalid", ())


def test_without_a_criterion_what_every_run_is_held_to_has_to_be_settled(tmp_path: Path) -> None:
    recording = Recording(tmp_path, criterion=[])
    recording.swap(0, "up")
    said = of(recording.run())
    assert (said.grade, said.text) == ("doubt", "Every swap succeeded; no criterion was declared")
    assert any("leak" in reason for reason in said.because)

"""Drift, first swaps, outliers and swaps that are left out, in the forms that people read."""

import json
from pathlib import Path

import pytest

from swapbench.base.figures import EN_DASH, times
from swapbench.findings import Findings, analyse
from swapbench.report.forms import to_json, to_markdown
from swapbench.report.sections.rounds import outliers, problems, within
from tests.findings.recording import Recording
from tests.report.render.test_terminal import terminal


def findings(folder: Path, loads: list[float], warmup: int = 0) -> Findings:
    recording = Recording(folder, rounds=max(1, len(loads)), warmup=warmup)
    for number in range(warmup):
        recording.swap(number, "up", {"load": 9.0}, warmup=True, position=number)
    for number, load_s in enumerate(loads, start=warmup):
        recording.swap(number, "up", {"load": load_s}, position=number)
    return analyse(recording.run())


STEADY = [3.0, 3.1, 2.9, 3.05, 2.95, 3.0]


def test_six_swaps_say_where_the_median_lies(tmp_path: Path) -> None:
    made = findings(tmp_path, STEADY, warmup=1)
    for text in (terminal(made), to_markdown(made)):
        assert f"3.00 s (97 % interval 2.90{EN_DASH}3.10) total" in text
        assert f"Phases: median seconds of 6 swaps (min{EN_DASH}max)" in text
        assert "interval: where the median lies by order statistics" in " ".join(text.split())
    interval = json.loads(to_json(made))["scenarios"][0]["total_interval"]
    assert interval == {"low": 2.9, "high": 3.1, "confidence": 0.96875, "n": 6}


def test_five_swaps_say_nothing_of_it(tmp_path: Path) -> None:
    made = findings(tmp_path, STEADY[:5], warmup=1)
    for text in (terminal(made), to_markdown(made)):
        assert "interval 2.9" not in text
        assert "where the median lies" not in text
    assert '"headline_interval": null' in to_json(made)


def test_a_drift_is_said_with_its_interval_and_with_what_to_do(tmp_path: Path) -> None:
    made = findings(tmp_path, [3.0, 3.1, 3.2, 3.3, 3.4, 3.5], warmup=1)
    (drift,) = within(made)
    assert drift.text.startswith("17 % slower over 6 rounds (95 % interval 1")
    for text in (terminal(made), to_markdown(made)):
        assert "17 % slower over 6 rounds" in text
        assert "the machine heats up" in text


def test_where_none_is_found_it_says_what_could_hide(tmp_path: Path) -> None:
    (drift,) = within(findings(tmp_path, STEADY, warmup=1))
    assert drift.text.startswith("none found over 6 rounds; anything from ")
    assert drift.text.endswith("slower could hide (95 % interval)")
    assert drift.tone == "plain"


def test_a_run_that_gets_faster_gives_the_smaller_bound_first(tmp_path: Path) -> None:
    (drift,) = within(findings(tmp_path, [3.5, 3.0, 2.6, 2.2, 1.9, 1.7], warmup=1))
    assert " faster over 6 rounds (95 % interval " in drift.text
    least, most = drift.text.partition("interval ")[2].rstrip("%) ").split(" % to ")
    assert float(least) < float(most)


def test_too_few_rounds_are_not_tested(tmp_path: Path) -> None:
    (drift,) = within(findings(tmp_path, STEADY[:3]))
    assert drift.text == "not tested: needs 5 rounds, not counting each process's first"


def test_a_run_without_a_counted_swap_has_nothing_within(tmp_path: Path) -> None:
    assert within(findings(tmp_path, [], warmup=1)) == ()


def test_first_swaps_stand_beside_later_ones(tmp_path: Path) -> None:
    made = findings(tmp_path, [6.0, *STEADY])
    line = within(made)[1]
    assert line.label == "first swaps, up"
    assert line.text == (f"6.00 s (1 swap), later ones 3.00 s (6 swaps): {times(2.0)}")
    assert "every figure" in terminal(made)
    assert len(within(findings(tmp_path / "warm", STEADY, warmup=1))) == 1


@pytest.mark.parametrize("width", [80, 120, 200])
def test_outliers_are_named_with_their_phase(tmp_path: Path, width: int) -> None:
    made = findings(tmp_path, [*STEADY, 9.0], warmup=1)
    for text in (terminal(made, width), to_markdown(made)):
        assert "Outliers, kept in every figure" in text
        assert "up, round 7" in text
        flat = " ".join(text.split())
        assert f"9.00 s, {times(3.0)} the median; most of that in load, 6.00 s above its own" in flat
    (outlier,) = json.loads(to_json(made))["outliers"]
    assert (outlier["round"], outlier["seconds"], outlier["times"]) == (7, 9.0, 3.0)
    assert made.scenarios[0].total is not None
    assert made.scenarios[0].total.n == 7


def test_of_many_outliers_ten_are_listed(tmp_path: Path) -> None:
    lines = outliers(findings(tmp_path, [*[3.0] * 20, *[9.0] * 12], warmup=1))
    assert len(lines) == 11
    assert lines[-1].text == "and 2 more: --format json has them all"


def test_a_table_of_few_and_many_swaps_says_which_spread_is_which(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=31)
    for number in range(31):
        recording.swap(number, "up", {"load": 3.0 + number / 10})
        recording.swap(number, "down", {"load": 1.0}, valid=number > 3)
    text = terminal(analyse(recording.run()))
    assert f"median seconds of 27 to 31 swaps (min{EN_DASH}max, quartiles from 30 swaps on)" in text


def told(recording: Recording) -> dict[str, str]:
    return {line.label: line.text for line in problems(analyse(recording.run()))}


def test_what_became_of_several_rounds_alike_is_said_once(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(
            number, "up", warmup=number == 0, valid=False, invalid_reason="labelled cold, but it was not"
        )
        recording.swap(number, "down")
    recording.failed_swap(3, "up", error="load failed: shard 2 is missing")
    assert told(recording) == {
        "rounds 0 (warm-up), 1, 2, up": "invalid: labelled cold, but it was not",
        "round 3, up": "failed: load failed: shard 2 is missing",
    }


def test_many_rounds_are_told_by_their_ends(tmp_path: Path) -> None:
    recording = Recording(tmp_path, rounds=40)
    for number in range(40):
        recording.failed_swap(number, "up", error="load failed: shard 2 is missing")
    assert list(told(recording)) == ["rounds 0, 1, 2, 3, 4, … 39, up"]

"""What stands beside the figures."""

from pathlib import Path

from swapbench.findings import analyse
from swapbench.report.sections.failures import problems
from tests.findings.recording import Recording


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

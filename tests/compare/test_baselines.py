"""Histories on disk: made for git, and every mistake in them told by file and line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swapbench.base.errors import Exit, IncomparableError, ResultsError, UsageError
from swapbench.base.phases import PHASES
from swapbench.compare.baselines import (
    BASELINE_VERSION,
    KeptRun,
    KeptScenario,
    fingerprints,
    load,
    names,
    save,
)

ASPECTS = {"0123456789ab": {"machine": "Apple M4 Pro, 12 cores, 24 GiB, macOS", "models": "large"}}


def kept(day: int) -> KeptRun:
    """A run of three scenarios, as one of exp012 is kept."""
    scenario = KeptScenario(
        figure="to_first_token",
        n=5,
        seconds=3.456789,
        phases_s={str(phase): 0.123456 for phase in PHASES},
    )
    return KeptRun(
        run_id=f"202601{day:02}T101500Z-hub",
        experiment="exp012",
        started_at=datetime(2026, 1, 1, 10, 15, tzinfo=UTC) + timedelta(days=day),
        fingerprint="0123456789ab",
        versions={"swapbench": "0.1.0", "mlx": "0.32.4", "mlx-lm": "0.32.1", "python": "CPython 3.12.1"},
        scenarios=dict.fromkeys(("small-to-large", "large-to-large", "large-to-small"), scenario),
    )


def lines(results: Path) -> list[str]:
    return (results / "baselines" / "nightly" / "runs.jsonl").read_text(encoding="utf-8").splitlines()


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    assert save(tmp_path, "nightly", [kept(1), kept(2)], ASPECTS) == (2, 2)
    assert load(tmp_path, "nightly") == (kept(1), kept(2))
    assert fingerprints(tmp_path, "nightly") == ASPECTS
    assert names(tmp_path) == ["nightly"]


def test_a_run_is_kept_once_however_often_it_is_saved(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    before = lines(tmp_path)
    assert save(tmp_path, "nightly", [kept(1), kept(1)], ASPECTS) == (0, 1)
    assert lines(tmp_path) == before


def test_runs_are_sorted_by_when_they_began(tmp_path: Path) -> None:
    for day in (3, 1, 2):
        save(tmp_path, "nightly", [kept(day)], ASPECTS)
    assert [entry.run_id for entry in load(tmp_path, "nightly")] == [kept(day).run_id for day in (1, 2, 3)]


def test_a_new_run_is_one_new_line_and_changes_no_other(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1), kept(3)], ASPECTS)
    first, last = lines(tmp_path)
    save(tmp_path, "nightly", [kept(2)], ASPECTS)
    assert lines(tmp_path)[::2] == [first, last]
    assert len(lines(tmp_path)) == 3


def test_a_hundred_runs_of_three_scenarios_take_less_than_a_hundred_kilobytes(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(day) for day in range(100)], ASPECTS)
    assert sum(path.stat().st_size for path in (tmp_path / "baselines").rglob("*.json*")) < 100_000


def test_the_fields_of_a_kept_run(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    (line,) = lines(tmp_path)
    row = json.loads(line)
    assert BASELINE_VERSION == 1
    assert sorted(row) == [
        *("baseline_version", "experiment", "fingerprint", "run_id", "scenarios", "started_at", "versions")
    ]
    assert sorted(row["scenarios"]["small-to-large"]) == ["figure", "n", "phases_s", "seconds"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "run_id: Field required"),
        (kept(2).model_dump_json().replace("3.456789", '"soon"'), "scenarios.small-to-large.seconds: "),
        (kept(2).model_dump_json().replace("3.456789", "0"), "scenarios.small-to-large.seconds: "),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path: Path, line: str, fault: str) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    path = tmp_path / "baselines" / "nightly" / "runs.jsonl"
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(ResultsError) as told:
        load(tmp_path, "nightly")
    assert str(told.value).startswith(f"{path}: line 3: ")
    assert fault in str(told.value)
    assert "\n" not in str(told.value)
    # Nothing is added to what can't be read.
    with pytest.raises(ResultsError):
        save(tmp_path, "nightly", [kept(4)], ASPECTS)


def test_a_newer_version_is_told_before_anything_else_of_it_is_looked_at(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    path = tmp_path / "baselines" / "nightly" / "runs.jsonl"
    path.write_text('{"baseline_version": 2, "all": "is new"}\n')
    with pytest.raises(ResultsError, match=r"line 1: version 2 is newer than .* \(1\); upgrade swapbench"):
        load(tmp_path, "nightly")


def test_what_a_newer_swapbench_adds_is_ignored(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    path = tmp_path / "baselines" / "nightly" / "runs.jsonl"
    path.write_text(path.read_text().replace('{"base', '{"mood":"good","base', 1))
    assert load(tmp_path, "nightly") == (kept(1),)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../up", "with blank", "naïve", "a\n"])
def test_a_name_that_is_no_folder_s_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a baseline is named by letters"):
        save(tmp_path, name, [kept(1)], ASPECTS)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_baseline_that_is_missing_exits_with_6_and_names_the_nearest(tmp_path: Path) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    with pytest.raises(IncomparableError) as told:
        load(tmp_path, "nightyl")
    assert told.value.exit_code is Exit.INCONCLUSIVE
    assert 'no baseline "nightyl"' in str(told.value)
    assert 'did you mean "nightly"?' in str(told.value)
    assert "`swapbench baseline save nightyl` makes one" in str(told.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"machine": 1}'])
def test_a_broken_fingerprint_is_named(tmp_path: Path, text: str) -> None:
    save(tmp_path, "nightly", [kept(1)], ASPECTS)
    path = tmp_path / "baselines" / "nightly" / "0123456789ab.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"0123456789ab\.json: "):
        fingerprints(tmp_path, "nightly")

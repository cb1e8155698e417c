"""The arms of a run, each as a run of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from swapbench.base.errors import UsageError
from swapbench.compare.comparison import compare_arms
from swapbench.compare.fingerprint import differences
from swapbench.findings import analyse
from swapbench.findings.runs import arm_of, arms_of
from swapbench.findings.swaps import swaps_of
from swapbench.store import Run
from swapbench.wire.swap import ClientRequest
from tests.findings.recording import Recording, arm, worker
from tests.frames import frame
from tests.measured import planned


def two_arms(folder: Path) -> Run:
    """A takes 3 s to load and B 4 s, in two rounds, A B B A."""
    recording = Recording(folder, rounds=2)
    recording.writer.update(arms=(arm("a", rounds=2), arm("b", rounds=2, engine={"max_batch": 2})))
    for turn, (number, name) in enumerate([(0, "a"), (0, "b"), (1, "b"), (1, "a")]):
        recording.begin_turn(turn, name)
        recording.restart_worker()
        version = "0.32.4" if name == "a" else "0.33.0"
        recording.writer.add(worker(arm=name, pid=turn, versions={"mlx": version}))
        for scenario in ("up", "down"):
            recording.sample(number, scenario, 1.0, 1000)
            recording.writer.add(
                ClientRequest(
                    swap=planned(scenario, number, arm=name),
                    client=0,
                    request=name,
                    sent_s=0.0,
                    outcome="answered",
                )
            )
            recording.swap(number, scenario, {"load": 3.0 if name == "a" else 4.0})
    return recording.run()


def test_each_arm_is_a_run_with_its_own_rows(tmp_path: Path) -> None:
    whole = two_arms(tmp_path)
    a, b = arms_of(whole)
    for alone, seconds in ((a, 3.0), (b, 4.0)):
        assert list(frame(alone.swaps).total_s) == [seconds] * 4
        assert len(alone.memory) == 4
        assert set(frame(alone.phases)[frame(alone.phases).phase == "load"].seconds) == {seconds}
    assert list(frame(a.requests).request) == ["a"] * 4
    assert list(frame(b.requests).request) == ["b"] * 4
    assert len(a.phases) + len(b.phases) == len(whole.phases)
    assert list(frame(a.swaps).turn) == [0, 0, 3, 3]
    assert list(frame(b.swaps).turn) == [1, 1, 2, 2]


def test_each_arm_has_its_own_experiment_and_workers(tmp_path: Path) -> None:
    a, b = arms_of(two_arms(tmp_path))
    assert a.info.worker is not None
    assert b.info.worker is not None
    assert (a.info.worker.pid, b.info.worker.pid) == (3, 2)
    assert (len(a.info.baselines), len(b.info.baselines)) == (2, 2)
    assert {d.what: (d.a, d.b, d.decisive) for d in differences(a, b)} == {
        "engine.max_batch": ("16", "2", True),
        "mlx": ("0.32.4", "0.33.0", False),
    }


def test_an_arm_is_analysed_as_any_other_run(tmp_path: Path) -> None:
    for alone, seconds in zip(arms_of(two_arms(tmp_path)), (3.0, 4.0), strict=True):
        assert alone.info.arms == ()
        assert arms_of(alone) == (alone,)
        scenarios = analyse(alone).scenarios
        assert [s.total and (s.total.point, s.total.n) for s in scenarios] == [(seconds, 2)] * 2
        assert len({swap.worker for swap in swaps_of(alone)}) == 2


def test_an_arm_is_had_by_its_name(tmp_path: Path) -> None:
    whole = two_arms(tmp_path)
    assert list(frame(arm_of(whole, "b").swaps).total_s) == [4.0] * 4
    with pytest.raises(UsageError, match='no arm "c" in this run; '):
        arm_of(whole, "c")


def test_a_run_that_compares_nothing_is_its_own_only_arm(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    run = recording.run()
    assert arms_of(run) == (run,)
    with pytest.raises(UsageError, match='no arm "a": this run compares no arms; leave out --arm'):
        arm_of(run, "a")


def test_notes_of_an_arm_are_told_with_its_side_and_those_of_the_run_once(tmp_path: Path) -> None:
    whole = two_arms(tmp_path)
    first, second = whole.info.arms
    arms = (first.model_copy(update={"notes": ("it has no clients",)}), second)
    noted = replace(whole, info=whole.info.model_copy(update={"arms": arms, "notes": ("resumed",)}))
    told = compare_arms(noted).notes
    assert "the a side: it has no clients" in told
    assert told.count("resumed") == 1
    assert "it has no clients" in analyse(arm_of(noted, "a")).notes
    assert "it has no clients" not in analyse(arm_of(noted, "b")).notes

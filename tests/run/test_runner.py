"""Runs as they are left on disk, from scripted events and from real worker processes."""

import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from swapbench.base.errors import UsageError, WorkerError
from swapbench.cli.progress import course_of
from swapbench.machine.surroundings import Presence
from swapbench.run.runner import Job, carry_out, follow, new_job, new_paired_job, resumed_job, told_of
from swapbench.spec.experiment import Experiment, Source
from swapbench.store import ArmInfo, Carrier, Run, read, read_info
from swapbench.wire.events import Event, SwapStarted, TurnStarted, WorkerReady, encode
from swapbench.wire.plan import PairOrder, make_plan, scripted_checkpoints
from swapbench.wire.swap import MemorySample, SwapFinished
from tests.frames import frame
from tests.played import turns_played
from tests.scripted import play, scripted


class _Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)


def _job(experiment: Experiment, out: Path, **options: Any) -> Job:
    return new_job(
        experiment, Path("scripted.toml"), scripted_checkpoints(experiment), out, command=["test"], **options
    )


def _index_of_swap(events: list[Event], number: int) -> int:
    """Where the swap of that number is under way: just after it was started."""
    started = [i for i, event in enumerate(events) if isinstance(event, SwapStarted)]
    return started[number] + 1


def test_a_run_leaves_a_row_for_every_swap_and_phase(tmp_path: Path) -> None:
    experiment = scripted(rounds=2, warmup=1)
    job = _job(experiment, tmp_path)
    follow(play(experiment), job.writer, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert list(frame(run.swaps).scenario) == ["up", "down"] * 3
    assert list(frame(run.swaps).warmup) == [True, True, False, False, False, False]
    whole = frame(run.phases)[frame(run.phases).span == ""]
    assert len(whole) == 6 * 9
    assert frame(run.swaps).total_s.tolist() == pytest.approx([3.3] * 6)


def test_the_observer_sees_every_event_after_it_is_written(tmp_path: Path) -> None:
    experiment = scripted(rounds=1)
    job = _job(experiment, tmp_path)
    rows_when_seen: list[int] = []

    class _Looking:
        def on(self, event: Event) -> None:
            if isinstance(event, SwapFinished):
                rows_when_seen.append(len(read(job.writer.folder).swaps))

    follow(play(experiment), job.writer, _Looking())
    assert rows_when_seen == [1, 2]


def test_a_worker_that_is_lost_leaves_the_run_incomplete_with_the_reason(tmp_path: Path) -> None:
    experiment = scripted(rounds=2)

    def lost() -> Iterator[Event]:
        yield from play(experiment)[: _index_of_swap(play(experiment), 2)]
        raise WorkerError("the worker was killed by SIGKILL in load")

    job = _job(experiment, tmp_path)
    follow(lost(), job.writer, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "incomplete"
    assert "SIGKILL" in run.info.failure
    assert list(frame(run.swaps).status) == ["ok", "ok"]


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    experiment = scripted(rounds=3)
    events = play(experiment)

    def interrupted() -> Iterator[Event]:
        yield from events[: _index_of_swap(events, 3)]
        raise KeyboardInterrupt

    job = _job(experiment, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(interrupted(), job.writer, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "interrupted"
    assert list(frame(run.swaps).status) == ["ok"] * 3


def test_a_resumed_run_measures_what_is_left_and_nothing_twice(tmp_path: Path) -> None:
    experiment = scripted(rounds=3)
    events = play(experiment)
    job = _job(experiment, tmp_path)
    # The parent is killed in the middle of the fourth swap: some of its phases are written, no row is.
    cut = _index_of_swap(events, 3) + 8
    for table in _write_then_vanish(events[:cut], job):
        table.flush()
    resumed = resumed_job(job.writer.folder)
    left = play(experiment, done=resumed.done)
    follow(left, resumed.writer, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert [
        (int(r), s) for r, s in zip(frame(run.swaps)["round"], frame(run.swaps).scenario, strict=True)
    ] == [(r, s) for r in range(3) for s in ("up", "down")]
    whole = frame(run.phases)[frame(run.phases).span == ""]
    assert not whole.duplicated(["round", "scenario", "phase"]).any()
    assert len(whole) == 6 * 9
    assert any("resumed" in note for note in run.info.notes)


def _write_then_vanish(events: list[Event], job: Job) -> list[Any]:
    for event in events:
        job.writer.add(event)
    return [table.file for table in job.writer._tables.values()]


def test_a_complete_run_can_not_be_resumed(tmp_path: Path) -> None:
    experiment = scripted(rounds=1)
    job = _job(experiment, tmp_path)
    follow(play(experiment), job.writer, _Seen())
    with pytest.raises(UsageError, match="this run is complete"):
        resumed_job(job.writer.folder)


def test_a_run_is_named_by_what_its_models_are_whatever_the_experiment_says(tmp_path: Path) -> None:
    experiment = scripted()
    found = {
        name: checkpoint.model_copy(update={"source": source})
        for (name, checkpoint), source in zip(
            scripted_checkpoints(experiment).items(), (Source.LOCAL, Source.MINI), strict=True
        )
    }
    job = new_job(experiment, Path("scripted.toml"), found, tmp_path, command=["test"])
    assert job.writer.info.run_id.endswith("Z-local-mini")
    assert job.writer.folder.name == job.writer.info.run_id
    assert course_of(job).sources == (Source.LOCAL, Source.MINI)
    assert not course_of(job).claims


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    experiment = scripted(rounds=1)
    folders = {_job(experiment, tmp_path).writer.folder for _ in range(3)}
    assert len(folders) == 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [("kill", "killed by SIGKILL in load"), ("exit", "ended with exit code 3 in load")],
)
def test_a_real_worker_that_ends_is_a_failed_swap_and_another_goes_on(
    failure: str, reason: str, tmp_path: Path
) -> None:
    experiment = scripted(
        [{"scenario": "down", "round": 0, "fails_in": "load", "failure": failure}], rounds=2
    )
    job = _job(experiment, tmp_path)
    carry_out(job, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert list(frame(run.swaps).scenario) == ["up", "down"] * 2
    # The old model is served by the new worker, and answers: that took a while.
    assert list(frame(run.swaps).status) == ["ok", "rolled_back", "ok", "ok"]
    assert frame(run.swaps).rollback_s.iloc[1] > 0
    assert reason in frame(run.swaps).error.iloc[1]
    assert frame(run.swaps).failed_phase.iloc[1] == "load"
    # What it had counted went with the worker, and what settles is another one's.
    unknown = ("drained_requests", "evicted_caches", "evicted_bytes", "answered_requests", "lost_requests")
    assert frame(run.swaps).iloc[1][[*unknown, "settle_s", "settled_footprint_bytes"]].isna().all()
    assert frame(run.swaps).iloc[2][[*unknown, "settle_s", "settled_footprint_bytes"]].notna().all()
    assert any("a new worker goes on" in note for note in run.info.notes)


def test_a_run_that_is_to_fail_fast_ends_with_its_worker(tmp_path: Path) -> None:
    experiment = scripted([{"scenario": "down", "round": 0, "fails_in": "load", "failure": "kill"}])
    job = _job(experiment, tmp_path, fail_fast=True)
    carry_out(job, _Seen())
    run = read(job.writer.folder)
    assert (run.info.status, list(frame(run.swaps).status)) == ("incomplete", ["ok", "failed"])
    assert "SIGKILL" in run.info.failure


def test_a_worker_that_has_much_to_say_is_not_hung_because_nobody_listened(tmp_path: Path) -> None:
    job = _job(scripted(rounds=60, swap_timeout_s=2.0), tmp_path)

    class _Dozing(_Seen):
        def on(self, event: Event) -> None:
            super().on(event)
            if isinstance(event, SwapFinished) and event.swap.round == 1:
                # As after Ctrl-Z: longer than a silent worker is given.
                threading.Event().wait(2.5)

    carry_out(job, _Dozing())
    assert read_info(job.writer.folder).status == "complete"


def test_a_run_stopped_at_its_first_failure_is_not_complete_and_can_go_on(tmp_path: Path) -> None:
    experiment = scripted([{"scenario": "up", "round": 0, "fails_in": "load"}])
    job = _job(experiment, tmp_path, fail_fast=True)
    carry_out(job, _Seen())
    info = read_info(job.writer.folder)
    assert (info.status, info.failure) == ("incomplete", "stopped at the first failure: up of round 0")
    carry_out(resumed_job(job.writer.folder), _Seen())
    assert len(read(job.writer.folder).swaps) == 6


def test_after_a_rollback_that_failed_another_worker_goes_on(tmp_path: Path) -> None:
    experiment = scripted([{"scenario": "up", "round": 1, "fails_in": "load", "rollback": False}])
    job = _job(experiment, tmp_path)
    seen = _Seen()
    carry_out(job, seen)
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert list(frame(run.swaps).status) == ["ok", "ok", "failed", "ok", "ok", "ok"]
    workers = [event for event in seen.events if isinstance(event, WorkerReady)]
    assert len({worker.pid for worker in workers}) == 2
    assert run.info.baselines == tuple(worker.baseline for worker in workers)


def test_every_swap_that_kills_its_worker_has_one_row_and_the_run_ends(tmp_path: Path) -> None:
    killing = {"fails_in": "unload", "failure": "kill"}
    experiment = scripted([killing | {"scenario": "up"}, killing | {"scenario": "down"}], rounds=1)
    job = _job(experiment, tmp_path)
    carry_out(job, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert list(frame(run.swaps).status) == ["rolled_back"] * 2


def test_a_real_worker_that_hangs_is_killed_and_told(tmp_path: Path) -> None:
    experiment = scripted(
        [{"scenario": "up", "round": 0, "fails_in": "evict", "failure": "hang"}],
        swap_timeout_s=1.5,
        sample_every_s=0.02,
    )
    job = _job(experiment, tmp_path, fail_fast=True)
    seen = _Seen()
    carry_out(job, seen)
    info = read_info(job.writer.folder)
    assert info.failure == "the worker hung: silent for 1.5 s in evict"
    # The sampler went on all the time: silence means no progress, not no events.
    assert any(isinstance(event, MemorySample) for event in seen.events)
    assert info.worker is not None
    assert not _alive(info.worker.pid)


def test_an_interpreter_without_swapbench_is_told_apart(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "No module named swapbench" >&2\nexit 1\n')
    fake.chmod(0o755)
    job = _job(scripted(), tmp_path, python=str(fake))
    carry_out(job, _Seen())
    assert "No module named swapbench" in read_info(job.writer.folder).failure


def _paired_job(a: Experiment, b: Experiment, out: Path, order: PairOrder = "abba") -> Job:
    arms = (_arm("a", a), _arm("b", b))
    return new_paired_job(arms, Path("scripted.toml"), out, command=["test"], order=order)


def _arm(name: str, experiment: Experiment) -> ArmInfo:
    return ArmInfo(
        name=name,
        label=f"side {name}",
        python=sys.executable,
        experiment=experiment.model_dump(mode="json", by_alias=True),
        models=tuple(scripted_checkpoints(experiment).values()),
    )


def _loading(seconds: float, swaps: list[dict[str, Any]] | None = None, **changes: Any) -> Experiment:
    everywhere = [{"scenario": name, "seconds": {"load": seconds}} for name in ("up", "down")]
    return scripted([*(swaps or []), *everywhere], **changes)


def _took(run: Run) -> list[tuple[str, int, str]]:
    """Arm, round and scenario of every row of swaps.csv, in order."""
    return [(row["arm"], int(row["round"]), row["scenario"]) for row in run.swaps]


ABBA = [
    (arm, number, scenario)
    for number, arms in enumerate(("ab", "ba", "ab"))
    for arm in arms
    for scenario in ("up", "down")
]


def test_a_run_of_two_arms_goes_a_b_b_a_with_a_worker_for_every_turn(tmp_path: Path) -> None:
    job = _paired_job(_loading(3.0), _loading(4.0), tmp_path)
    seen = _Seen()
    carry_out(job, seen)
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert _took(run) == ABBA
    assert list(frame(run.swaps).turn) == [turn for turn in range(6) for _ in range(2)]
    # Each by its own experiment.
    loads = frame(run.phases)[(frame(run.phases).phase == "load") & (frame(run.phases).span == "")]
    assert {arm: set(rows.seconds) for arm, rows in loads.groupby("arm")} == {"a": {3.0}, "b": {4.0}}
    turns = [event.arm for event in seen.events if isinstance(event, TurnStarted)]
    assert turns == ["a", "b", "b", "a", "a", "b"]
    pids = [event.pid for event in seen.events if isinstance(event, WorkerReady)]
    assert len(set(pids)) == 6
    last = {arm.name: arm.worker.pid for arm in run.info.arms if arm.worker is not None}
    assert last == {"a": pids[4], "b": pids[5]}
    assert [len(arm.baselines) for arm in run.info.arms] == [3, 3]
    assert len(run.info.baselines) == 6


def test_a_run_of_two_arms_is_named_by_the_models_of_both(tmp_path: Path) -> None:
    a, b = _arm("a", scripted()), _arm("b", scripted())
    minis = tuple(model.model_copy(update={"source": Source.MINI}) for model in b.models)
    arms = (a, b.model_copy(update={"models": minis}))
    job = new_paired_job(arms, Path("scripted.toml"), tmp_path, command=["test"])
    assert job.writer.info.run_id.endswith("Z-hub-mini")
    assert not course_of(job).claims


def test_a_random_order_of_two_arms_is_kept_in_the_run(tmp_path: Path) -> None:
    experiment = scripted(rounds=3, seed=3)
    job = _paired_job(experiment, experiment, tmp_path, order="random")
    follow(turns_played(job), job.writer, _Seen())
    run = read(job.writer.folder)
    assert run.info.pair_order == "random"
    assert [arm for arm, _, scenario in _took(run) if scenario == "up"] == [turn.arm for turn in job.turns()]
    for number in range(3):
        assert {arm for arm, n, _ in _took(run) if n == number} == {"a", "b"}


class _Interrupting(_Seen):
    """Ctrl-C after so many swaps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def on(self, event: Event) -> None:
        super().on(event)
        if sum(isinstance(seen, SwapFinished) for seen in self.events) == self._after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        # In the middle of A's first turn, after it, and in the middle of B's.
        (1, []),
        (2, []),
        (3, []),
        # At the end of the first round; after B, whose turn comes first in the second.
        (4, ABBA[:4]),
        (6, ABBA[:4]),
        (11, ABBA[:8]),
    ],
)
def test_only_rounds_that_both_arms_have_done_are_kept(
    after: int, kept: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    job = _paired_job(_loading(3.0), _loading(4.0), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(turns_played(job), job.writer, _Interrupting(after))
    interrupted = read(job.writer.folder)
    assert interrupted.info.status == "interrupted"
    assert _took(interrupted) == ABBA[:after]
    resumed_job(job.writer.folder)
    assert _took(read(job.writer.folder)) == kept


@pytest.mark.parametrize(("after", "kept"), [(3, []), (6, ABBA[:4])])
def test_a_resumed_run_does_rounds_anew_that_only_one_arm_has_done(
    after: int, kept: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    job = _paired_job(_loading(3.0), _loading(4.0), tmp_path)
    folder = job.writer.folder
    with pytest.raises(KeyboardInterrupt):
        follow(turns_played(job), job.writer, _Interrupting(after))
    resumed = resumed_job(folder)
    seen = _Seen()
    carry_out(resumed, seen)
    run = read(folder)
    assert run.info.status == "complete"
    assert _took(run) == ABBA
    # A B B A goes on where it was, whoever was interrupted.
    turns = [(event.turn, event.arm) for event in seen.events if isinstance(event, TurnStarted)]
    assert turns == list(enumerate("abbaab"))[len(kept) // 2 :]
    assert list(frame(run.swaps).turn) == [turn for turn in range(6) for _ in range(2)]
    whole = frame(run.phases)[frame(run.phases).span == ""]
    assert not whole.duplicated(["arm", "round", "scenario", "phase"]).any()
    assert len(whole) == 12 * 9
    assert f"after {len(kept)} swaps: interrupted by the user" in run.info.notes[-1]


def test_a_run_that_was_disturbed_before_and_after_it_was_resumed_says_so_once(tmp_path: Path) -> None:
    job = replace(_job(scripted(), tmp_path), presence=Presence(others=(9332, 9454)))
    with pytest.raises(KeyboardInterrupt):
        carry_out(job, _Interrupting(1))
    carry_out(replace(resumed_job(job.writer.folder), presence=job.presence), _Seen())
    disturbed, resumed = read_info(job.writer.folder).notes
    assert "another run of swapbench went on" in disturbed
    assert "after 1 swap: interrupted by the user" in resumed
    assert "(processes 9332, 9454)" in told_of(job.presence.others)


def test_a_worker_of_one_arm_that_is_lost_costs_the_other_nothing(tmp_path: Path) -> None:
    killed = {"scenario": "up", "round": 1, "fails_in": "load", "failure": "kill"}
    job = _paired_job(_loading(3.0), _loading(4.0, [killed]), tmp_path)
    carry_out(job, _Seen())
    run = read(job.writer.folder)
    assert run.info.status == "complete"
    assert _took(run) == ABBA
    bad = frame(run.swaps)[frame(run.swaps).status != "ok"]
    assert [(row.arm, int(row["round"]), row.scenario, row.status) for _, row in bad.iterrows()] == [
        ("b", 1, "up", "rolled_back")
    ]


def test_a_round_in_which_a_swap_failed_is_a_round_that_was_done(tmp_path: Path) -> None:
    fails = {"scenario": "down", "round": 0, "fails_in": "load"}
    job = _paired_job(_loading(3.0), _loading(4.0, [fails]), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        follow(turns_played(job), job.writer, _Interrupting(5))
    assert {key[1] for key in resumed_job(job.writer.folder).done} == {0}


def test_a_complete_run_of_two_arms_can_not_be_resumed(tmp_path: Path) -> None:
    experiment = scripted(rounds=1)
    job = _paired_job(experiment, experiment, tmp_path)
    follow(turns_played(job), job.writer, _Seen())
    with pytest.raises(UsageError, match="this run is complete"):
        resumed_job(job.writer.folder)


def test_the_worker_dies_with_its_parent(tmp_path: Path) -> None:
    hanging = [{"scenario": "up", "round": 0, "fails_in": "load", "failure": "hang"}]
    program = (
        "from pathlib import Path\n"
        "from swapbench.run.runner import carry_out\n"
        "from tests.run.test_runner import _job, _Seen\n"
        "from tests.scripted import scripted\n"
        f"carry_out(_job(scripted({hanging!r}), Path({str(tmp_path)!r})), _Seen())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    worker = _wait_for_worker(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _gone_within(worker, 10.0)


def _wait_for_worker(out: Path) -> int:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        for path in out.glob("*/*/run.json"):
            info = read_info(path.parent)
            if info.worker is not None:
                return info.worker.pid
        time.sleep(0.02)
    raise AssertionError("the worker never said that it is ready")


def _gone_within(pid: int, seconds: float) -> bool:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if not _alive(pid):
            return True
        time.sleep(0.02)
    return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # A zombie waits for a parent that has other things to do; it holds no memory.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.fixture
def broken_off(tmp_path: Path) -> Path:
    """The folder of a run of which one swap was finished, under this interpreter."""
    experiment = scripted(rounds=2)
    job = _job(experiment, tmp_path)
    events = play(experiment)
    for table in _write_then_vanish(events[: _index_of_swap(events, 1)], job):
        table.flush()
    return job.writer.folder


def _changed(folder: Path, **fields: Any) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def test_a_run_goes_on_under_the_interpreter_that_it_began_with(broken_off: Path, tmp_path: Path) -> None:
    other = tmp_path / "python"  # a link would be an environment of its own
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    assert resumed_job(_changed(broken_off, python=str(other))).arms[0].python == str(other)
    with pytest.raises(UsageError, match=f"begun with {other}, not with python; leave --python out"):
        resumed_job(broken_off, python="python")


def test_packages_that_have_changed_are_named(broken_off: Path) -> None:
    worker = read_info(broken_off).worker
    assert worker is not None
    now = importlib.metadata.version("mlx")
    older = worker.model_copy(
        update={
            "versions": {"mlx": "0.1.0"},
            "python": f"{platform.python_implementation()} {platform.python_version()}",
        }
    )
    _changed(broken_off, worker=older.model_dump(mode="json"))
    with pytest.raises(UsageError, match=f"begun with mlx 0.1.0, and .* has {now}; resume with the former"):
        resumed_job(broken_off)


def test_variables_that_have_changed_are_named(broken_off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_METAL_FAST_SYNCH", "1")
    with pytest.raises(
        UsageError,
        match="begun with MLX_METAL_FAST_SYNCH unset, and now with MLX_METAL_FAST_SYNCH=1",
    ):
        resumed_job(broken_off)


def test_a_run_that_goes_on_is_not_resumed_beside(broken_off: Path) -> None:
    parent = psutil.Process().parent()
    assert parent is not None
    began = datetime.fromtimestamp(parent.create_time(), UTC)
    carrier = Carrier.this().model_copy(update={"pid": parent.pid, "started_at": began})
    _changed(broken_off, process=carrier.model_dump(mode="json"))
    with pytest.raises(UsageError, match=f"process {parent.pid} is carrying this run out"):
        resumed_job(broken_off)


def test_a_worker_that_hangs_before_it_reads_a_long_plan_is_found_out(tmp_path: Path) -> None:
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\nexec sleep 600\n")
    deaf.chmod(0o755)
    experiment = scripted(rounds=5000, swap_timeout_s=1.0)
    job = _job(experiment, tmp_path / "results", python=str(deaf))
    assert len(encode(make_plan(job.arms[0], job.turns()[0], tmp_path))) > 1 << 17
    carry_out(job, _Seen())
    info = read_info(job.writer.folder)
    assert (info.status, info.failure) == ("incomplete", "the worker hung: silent for 1 s in starting")

"""Scripted runs on disk, played within the tests' process: the rows of a real run, and no worker started."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from swapbench.compare.history import History, read_history
from swapbench.run.runner import Job, follow, new_job, new_paired_job
from swapbench.spec.experiment import Experiment
from swapbench.store import ArmInfo, Run, read
from swapbench.wire.events import Event, TurnStarted
from swapbench.wire.plan import make_plan, scripted_checkpoints
from swapbench.worker.session import run_session
from swapbench.worker.targets.scripted import ScriptedTarget
from tests.scripted import scripted


class _Nobody:
    def on(self, event: Event) -> None:
        pass


def played(job: Job) -> Run:
    """Carry a job out as its workers would, one process after another, and read its run back."""
    with patch("os.fsync"):  # nobody pulls the plug, and hundreds of them take seconds
        follow(turns_played(job), job.writer, _Nobody())
    return read(job.writer.folder)


def turns_played(job: Job) -> Iterator[Event]:
    """The events of a job's turns, as of workers that are not lost."""
    arms = {arm.name: arm for arm in job.arms}
    for number, turn in enumerate(job.turns()):
        plan = make_plan(arms[turn.arm], turn, Path("unused"), fail_fast=job.fail_fast)
        events: list[Event] = []
        run_session(plan, ScriptedTarget(plan), events.append, pid=1)
        yield TurnStarted(turn=number, arm=turn.arm)
        yield from events


def a_run(
    out: Path, swaps: list[dict[str, Any]] | None = None, *, name: str = "scripted", **changes: Any
) -> Run:
    """A run of one thing; `name` is the experiment's, the rest as `tests.scripted.scripted` takes it."""
    experiment = scripted(swaps, **changes)
    checkpoints = scripted_checkpoints(experiment)
    with patch("os.fsync"):
        job = new_job(experiment, Path(f"{name}.toml"), checkpoints, out, command=["swapbench"])
    return played(job)


def pairs(out: Path, a: Experiment, b: Experiment, labels: tuple[str, str] = ("A", "B")) -> Run:
    """A run of two arms: A and B, in turn."""
    arms = tuple(
        ArmInfo(
            name=name,
            label=label,
            python="python",
            experiment=experiment.model_dump(mode="json", by_alias=True),
            models=tuple(scripted_checkpoints(experiment).values()),
        )
        for name, label, experiment in zip("AB", labels, (a, b), strict=True)
    )
    command = ["swapbench", "gate", "scripted.toml", "--base", "main"]
    with patch("os.fsync"):
        job = new_paired_job((arms[0], arms[1]), Path("scripted.toml"), out, command=command)
    return played(job)


def as_if(run: Run, like: Run) -> Run:
    """The run as if its script were that of another: only what was measured differs."""
    return replace(run, info=run.info.model_copy(update={"experiment": like.info.experiment}))


def loads(scenario: str, seconds: Sequence[float], first: int = 0) -> list[dict[str, Any]]:
    """[[script.swap]] entries: how long loading takes in each round from `first` on."""
    return [
        {"scenario": scenario, "round": number, "seconds": {"load": load_s}}
        for number, load_s in enumerate(seconds, start=first)
    ]


def past(run: Run, factors: Sequence[float], **changes: Any) -> History:
    """The history of earlier runs like this one, each that many times as slow; `changes` are to points."""
    read = read_history([run.folder.parents[1]], run.info.experiment_name)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    points = [
        replace(
            point,
            run_id=f"day-{n}",
            started_at=begun + timedelta(days=n),
            seconds=point.seconds * factor,
            **changes,
        )
        for n, factor in enumerate(factors)
        for point in read.points
        if point.run_id == run.info.run_id
    ]
    return History(run.info.experiment_name, len(factors), tuple(points), ())

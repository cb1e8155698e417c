"""Follows a worker's events, writes every row, and leaves a run that says how it ended."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from swapbench import __version__
from swapbench.base import interrupts
from swapbench.base.errors import Stopped, UsageError, WorkerError
from swapbench.base.figures import counted
from swapbench.machine.doctor import judge_surroundings
from swapbench.machine.environment import this_machine, tuning
from swapbench.machine.surroundings import Presence, look_around
from swapbench.run.arms import refuse_changed, refuse_unfit
from swapbench.run.capacity import limits_of
from swapbench.run.targets import fit, orchestrator_of, refuse_missing_keys, refuse_wants
from swapbench.run.worker_process import Supervisor, replies_of, verified_models
from swapbench.spec.experiment import Experiment, validate
from swapbench.store import (
    ArmInfo,
    Carrier,
    RunInfo,
    RunWriter,
    claim_folder,
    damage,
    drop_unfinished,
    finished_swaps,
    read_info,
)
from swapbench.wire.events import Event, Note, RunFinished, StepStarted
from swapbench.wire.plan import Arm, Checkpoint, PairOrder, Reply, Server, Turn, paired_turns, schedule, turns
from swapbench.wire.swap import SwapKey

_DISTURBED: Final = (
    "another run of swapbench went on on this machine at the same time: they disturb each other"
)


@dataclass(frozen=True)
class Job:
    """A run to carry out: into a new folder, or on in one that was left unfinished."""

    writer: RunWriter
    arms: tuple[Arm, ...]
    fail_fast: bool = False
    done: frozenset[SwapKey] = frozenset()
    presence: Presence = field(default_factory=Presence)

    @property
    def experiment(self) -> Experiment:
        """What is carried out; where two arms are, what they have in common is the same in both."""
        return self.arms[0].experiment

    def turns(self) -> tuple[Turn, ...]:
        """What its workers carry out, one after another."""
        if len(self.arms) == 1:
            return turns(self.experiment)
        return paired_turns(self.arms, self.writer.info.pair_order, self.experiment.seed)


def new_job(
    experiment: Experiment,
    file: Path,
    checkpoints: Mapping[str, Checkpoint],
    out: Path,
    *,
    command: Sequence[str],
    python: str = sys.executable,
    fail_fast: bool = False,
    alone: bool = False,
) -> Job:
    """Make the run's folder, `out`/<experiment>/<run>/, with its run.json.

    Args:
        alone: whether a run that goes on already is a reason not to begin.

    Raises:
        UsageError: there is one.
        ResultsError: no folder can be made.
    """
    fitted = fit(experiment, python)
    arm = Arm("", fitted.experiment, checkpoints, python, fitted.server, fitted.orchestrator)
    presence = _announced(fitted.experiment, alone=alone)
    told = {"command": tuple(command), "notes": fitted.notes, "server": fitted.server, "python": python}
    return Job(_new_run(arm, file, out, **told), (arm,), fail_fast, presence=presence)


def new_paired_job(
    arms: tuple[ArmInfo, ...],
    file: Path,
    out: Path,
    *,
    command: Sequence[str],
    order: PairOrder = "abba",
    fail_fast: bool = False,
    alone: bool = False,
) -> Job:
    """As `new_job`, of a run that compares two arms."""
    two = arms_from(arms, str(file))
    presence = _announced(two[0].experiment, alone=alone)
    writer = _new_run(two[0], file, out, command=tuple(command), arms=arms, pair_order=order)
    return Job(writer, two, fail_fast, presence=presence)


def _announced(experiment: Experiment, *, alone: bool) -> Presence:
    if experiment.target == "scripted":  # disturbs nobody, and is not disturbed
        return Presence()
    presence = Presence.announce()
    if alone and presence.others:
        presence.leave()
        raise UsageError(f"{told_of(presence.others)}; wait for its end, or leave --strict out")
    return presence


def told_of(others: Sequence[int]) -> str:
    """That other runs go on, for the user of this machine."""
    whose = f"{'process' if len(others) == 1 else 'processes'} {', '.join(map(str, others))}"
    return f"another run of swapbench goes on on this machine ({whose}), and the two disturb each other"


def _new_run(arm: Arm, file: Path, out: Path, **told: Any) -> RunWriter:
    now, machine = datetime.now(UTC), this_machine()
    models = tuple(arm.checkpoints.values())
    info = RunInfo(
        run_id="",
        experiment_name=file.stem,
        experiment_file=str(file),
        experiment=arm.experiment.model_dump(mode="json", by_alias=True),
        status="running",
        started_at=now,
        swapbench_version=__version__,
        machine=machine,
        models=models,
        limits=limits_of(models, machine),
        checks=judge_surroundings(
            look_around(model.path for model in models), {model.name: model.weight_bytes for model in models}
        ),
        process=Carrier.this(),
        variables=tuning(),
        **told,
    )
    interrupts.hold()
    folder = claim_folder(out / file.stem, info.sources(), now)
    return RunWriter(folder, info.model_copy(update={"run_id": folder.name}))


def arms_from(infos: Iterable[ArmInfo], origin: str) -> tuple[Arm, ...]:
    """What run.json says of arms, as their workers get it."""
    return tuple(
        _arm(info.name, validate(info.experiment, origin), info.models, info.python, info.server)
        for info in infos
    )


def _arm(
    name: str, experiment: Experiment, models: Iterable[Checkpoint], python: str, server: Server | None
) -> Arm:
    checkpoints = {model.name: model for model in models}
    return Arm(name, experiment, checkpoints, python, server, orchestrator_of(experiment.target, python))


def resumed_job(
    folder: Path, *, python: str | None = None, fail_fast: bool = False, alone: bool = False
) -> Job:
    """Go on in the folder of a run that did not end, with what it began with.

    Args:
        python: the interpreter that the user names; None for the run's own.
        alone: as of `new_job`.

    Raises:
        UsageError: there is nothing left to do, somebody is at it, or the machine, the interpreter, its
            packages, variables that tune them or a checkpoint are no longer what they were.
    """
    info = read_info(folder)
    changed, carrier = damage(folder, info), info.process.pid if info.process else os.getpid()
    gone = [str(model.path) for model in info.all_models() if info.worker and not model.path.exists()]
    for wrong, why in (
        (changed, f"{changed}; start a new run"),
        (
            info.status == "complete",
            f"this run is complete; `swapbench run {info.experiment_name}` starts another",
        ),
        (
            info.status == "running" and carrier != os.getpid(),
            f"process {carrier} is carrying this run out; wait for its end, or end it",
        ),
        (
            info.machine != this_machine(),
            f"begun on another machine, or under other limits ({info.machine.describe()}); "
            "start a new run here",
        ),
        (gone, f"the checkpoint {', '.join(gone[:1])} is gone; start a new run"),
    ):
        if wrong:
            raise UsageError(f"{folder}: {why}")
    _refuse_changed_surroundings(folder, info, python)
    origin, own = str(folder / "run.json"), info.python or sys.executable
    single = _arm("", validate(info.experiment, origin), info.models, own, info.server)
    arms = arms_from(info.arms, origin) or (single,)
    presence = _announced(arms[0].experiment, alone=alone)
    done = finished_swaps(folder)
    if len(arms) > 1:  # only rounds that both have finished: what lies hours apart is no pair
        scenarios, finished = len(arms[0].experiment.scenario), Counter(key[1] for key in done)
        done = frozenset(key for key in done if finished[key[1]] == len(arms) * scenarios)
    drop_unfinished(folder, done)
    for arm in arms:
        refuse_wants(arm.experiment, arm.server)
        if arm.server is not None:
            refuse_missing_keys(arm.server, folder)
    when, after = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", counted(len(done), "swap")
    resumed = {
        "status": "running",
        "failure": "",
        "finished_at": None,
        "notes": (*info.notes, f"resumed {when} after {after}: {info.failure or 'ended without a word'}"),
        "process": Carrier.this(),
        "rows": None,
        "sizes": None,
    }
    interrupts.hold()
    return Job(RunWriter(folder, info.model_copy(update=resumed)), arms, fail_fast, done, presence)


def _refuse_changed_surroundings(folder: Path, info: RunInfo, python: str | None) -> None:
    """Half a run under one interpreter and half under another is a run of neither."""
    if python is not None and python != info.python:
        began = info.python or "the interpreters of its arms"
        raise UsageError(f"{folder}: begun with {began}, not with {python}; leave --python out")
    alone = (info.python or sys.executable, info.worker)
    for interpreter, worker in [(arm.python, arm.worker) for arm in info.arms] or [alone]:
        refuse_unfit(interpreter)
        if worker is not None:
            refuse_changed(interpreter, worker, folder)
    now = tuning()
    for name in sorted({*info.variables, *now}):
        values = info.variables.get(name), now.get(name)
        if values[0] != values[1]:
            then, since = (f"{name} unset" if value is None else f"{name}={value:.200}" for value in values)
            raise UsageError(
                f"{folder}: begun with {then}, and now with {since}; "
                "resume with the former, or start a new run"
            )


def carry_out(job: Job, observer: "Observer") -> None:
    """Run the worker and follow it to its end.

    Raises:
        KeyboardInterrupt: as `follow`.
    """
    scratch_dir = (job.writer.folder / "caches").absolute()
    try:
        with closing(_events(job, scratch_dir)) as events:
            follow(events, job.writer, observer)
    finally:
        shutil.rmtree(scratch_dir, ignore_errors=True)
        if job.presence.met() and _DISTURBED not in job.writer.info.notes:
            job.writer.note(_DISTURBED)
        job.presence.leave()


def _events(job: Job, scratch_dir: Path) -> Generator[Event, None, None]:
    """What fresh processes and then the workers do."""
    log = job.writer.folder / "worker.log"
    expected: dict[str, dict[str, tuple[Reply, ...]]] = {arm.name: {} for arm in job.arms}
    for arm in job.arms:
        turns_of_arm = (turn for turn in job.turns() if turn.arm == arm.name)
        planned = (schedule(arm.experiment, turn, job.done) for turn in turns_of_arm)
        for model in verified_models(arm.experiment, tuple(chain.from_iterable(planned))):
            yield StepStarted(step=f"asking {model} in a fresh process")
            try:
                replies = replies_of(arm.checkpoints[model], arm.experiment, arm.python, log)
                expected[arm.name][model] = replies
            except WorkerError as error:
                yield Note(
                    text=f"answers of {model} are not verified: a fresh process can't give any: {error}"
                )
    arms = {arm.name: arm for arm in job.arms}
    done = set(job.done)
    yield from Supervisor(arms, job.turns(), expected, log, scratch_dir, job.fail_fast, done).events()


class Observer(Protocol):
    """Whoever shows what is going on."""

    def on(self, event: Event) -> None:
        """Called with every event, after it was written."""
        ...


def follow(events: Iterable[Event], writer: RunWriter, observer: Observer) -> None:
    """Write a run from its events; on return run.json says `complete`, `incomplete` or `interrupted`.

    Raises:
        KeyboardInterrupt: after everything measured so far is on disk.
    """
    stopped = ""
    try:
        interrupts.let_go()
        for event in events:
            writer.add(event)
            observer.on(event)
            if isinstance(event, RunFinished):
                stopped = event.stopped
    except WorkerError as error:
        writer.close("incomplete", str(error))
    except Stopped as error:
        writer.close("interrupted", f"ended by {error.signal.name}")
        raise
    except KeyboardInterrupt:
        writer.close("interrupted", "interrupted by the user")
        raise
    else:
        writer.close("incomplete" if stopped else "complete", stopped)

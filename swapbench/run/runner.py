"""Follows a worker's events, writes every row, and leaves a run that says how it ended."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from swapbench import __version__
from swapbench.base import interrupts
from swapbench.base.errors import Stopped, UsageError, WorkerError
from swapbench.machine.doctor import judge_surroundings
from swapbench.machine.environment import this_machine, tuning
from swapbench.machine.surroundings import Presence, look_around
from swapbench.run.arms import refuse_changed, refuse_unfit
from swapbench.run.capacity import limits_of
from swapbench.run.supervisor import Supervisor
from swapbench.run.targets import fit, orchestrator_of, refuse_missing_keys, refuse_wants
from swapbench.run.worker_process import replies_of, verified_models
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
    presence = _announced(fitted.experiment, alone=alone)
    arm = Arm("", fitted.experiment, checkpoints, python, fitted.server, fitted.orchestrator)
    folder, info = _new_run(arm, (), file, out, command)
    info = info.model_copy(update={"notes": fitted.notes, "server": fitted.server, "python": python})
    return Job(RunWriter(folder, info), (arm,), fail_fast, presence=presence)


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
    folder, info = _new_run(two[0], arms, file, out, command)
    writer = RunWriter(folder, info.model_copy(update={"pair_order": order}))
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


def _new_run(
    arm: Arm, arms: tuple[ArmInfo, ...], file: Path, out: Path, command: Sequence[str]
) -> tuple[Path, RunInfo]:
    now = datetime.now(UTC)
    machine = this_machine()
    models = tuple(arm.checkpoints.values())
    info = RunInfo(
        run_id="",
        experiment_name=file.stem,
        experiment_file=str(file),
        experiment=arm.experiment.model_dump(mode="json", by_alias=True),
        status="running",
        started_at=now,
        command=tuple(command),
        swapbench_version=__version__,
        machine=machine,
        models=models,
        arms=arms,
        limits=limits_of(models, machine),
        checks=judge_surroundings(
            look_around(model.path for model in models), {model.name: model.weight_bytes for model in models}
        ),
        process=Carrier.this(),
        variables=tuning(),
    )
    interrupts.hold()
    folder = claim_folder(out / file.stem, info.sources(), now)
    return folder, info.model_copy(update={"run_id": folder.name})


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
    if changed := damage(folder, info):
        raise UsageError(f"{folder}: {changed}; start a new run")
    if info.status == "complete":
        raise UsageError(
            f"{folder}: this run is complete; `swapbench run {info.experiment_name}` starts another"
        )
    if info.status == "running" and info.process is not None and info.process.pid != os.getpid():
        raise UsageError(
            f"{folder}: process {info.process.pid} is carrying this run out; wait for its end, or end it"
        )
    if info.machine != this_machine():
        raise UsageError(
            f"{folder}: begun on another machine, or under other limits ({info.machine.describe()}); "
            "start a new run here"
        )
    for checkpoint in (*info.models, *(model for arm in info.arms for model in arm.models)):
        if not checkpoint.path.exists() and info.worker is not None:
            raise UsageError(f"{folder}: the checkpoint {checkpoint.path} is gone; start a new run")
    _refuse_changed_surroundings(folder, info, python)
    origin = str(folder / "run.json")
    single = _arm(
        "", validate(info.experiment, origin), info.models, info.python or sys.executable, info.server
    )
    arms = arms_from(info.arms, origin) or (single,)
    presence = _announced(arms[0].experiment, alone=alone)
    done = _whole_rounds(finished_swaps(folder), arms)
    drop_unfinished(folder, done)
    for arm in arms:
        refuse_wants(arm.experiment, arm.server)
        if arm.server is not None:
            refuse_missing_keys(arm.server, folder)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    swaps = "1 swap" if len(done) == 1 else f"{len(done)} swaps"
    note = f"resumed {when} after {swaps}: {info.failure or 'ended without a word'}"
    resumed = {
        "status": "running",
        "failure": "",
        "finished_at": None,
        "notes": (*info.notes, note),
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
    workers = [(arm.python, arm.worker) for arm in info.arms] or [
        (info.python or sys.executable, info.worker)
    ]
    for interpreter, worker in workers:
        refuse_unfit(interpreter)
        if worker is not None:
            refuse_changed(interpreter, worker, folder)
    now = tuning()
    for name in sorted({*info.variables, *now}):
        if info.variables.get(name) != now.get(name):
            raise UsageError(
                f"{folder}: begun with {_set_to(name, info.variables)}, and now with {_set_to(name, now)}; "
                "resume with the former, or start a new run"
            )


def _set_to(name: str, variables: Mapping[str, str]) -> str:
    return f"{name}={variables[name]:.200}" if name in variables else f"{name} unset"


def _whole_rounds(done: frozenset[SwapKey], arms: Sequence[Arm]) -> frozenset[SwapKey]:
    """Of a run that compares, only rounds that both arms have finished: what lies hours apart is no pair."""
    if len(arms) == 1:
        return done
    scenarios = len(arms[0].experiment.scenario)
    finished = Counter(key[1] for key in done)
    return frozenset(key for key in done if finished[key[1]] == len(arms) * scenarios)


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
        planned = (schedule(arm.experiment, turn, job.done) for turn in job.turns() if turn.arm == arm.name)
        for model in verified_models(arm.experiment, tuple(swap for swaps in planned for swap in swaps)):
            yield StepStarted(step=f"asking {model} in a fresh process")
            try:
                expected[arm.name][model] = replies_of(
                    arm.checkpoints[model], arm.experiment, arm.python, log
                )
            except WorkerError as error:
                yield Note(
                    text=f"answers of {model} are not verified: a fresh process can't give any: {error}"
                )
    supervisor = Supervisor(
        arms={arm.name: arm for arm in job.arms},
        turns=job.turns(),
        expected=expected,
        log=log,
        scratch_dir=scratch_dir,
        fail_fast=job.fail_fast,
        done=set(job.done),
    )
    yield from supervisor.events()


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

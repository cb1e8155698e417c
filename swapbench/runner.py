"""Follows a worker's events, writes every row, and leaves a run that says how it ended."""

import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from swapbench import __version__
from swapbench.doctor.judge import judge_surroundings
from swapbench.doctor.surroundings import look_around
from swapbench.environment import this_machine
from swapbench.errors import UsageError, WorkerError
from swapbench.experiment import Experiment, validate
from swapbench.fresh_process import replies_of, verified_models
from swapbench.plan import Arm, PairOrder, SwapKey, Turn, paired_turns, schedule, turns
from swapbench.results import (
    ArmInfo,
    Carrier,
    RunInfo,
    RunWriter,
    drop_unfinished,
    finished_swaps,
    new_run_id,
    read_info,
)
from swapbench.roofline import limits_of
from swapbench.supervision import Supervisor
from swapbench.targets import fit, orchestrator_of, refuse_missing_keys, refuse_wants
from swapbench.wire import (
    Checkpoint,
    ClientRequest,
    Event,
    MemorySample,
    Note,
    PhaseMeasured,
    Reply,
    RunFinished,
    Server,
    StepStarted,
    SwapFinished,
    SwapStarted,
    TurnStarted,
    WorkerReady,
)


@dataclass(frozen=True)
class Job:
    """A run to carry out: into a new folder, or on in one that was left unfinished."""

    writer: RunWriter
    arms: tuple[Arm, ...]
    fail_fast: bool = False
    done: frozenset[SwapKey] = frozenset()

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
) -> Job:
    """Make the run's folder, `out`/<experiment>/<run>/, with its run.json."""
    fitted = fit(experiment)
    arm = Arm("", fitted.experiment, checkpoints, python, fitted.server, fitted.orchestrator)
    folder, info = _new_run(arm, (), file, out, command)
    info = info.model_copy(update={"notes": fitted.notes, "server": fitted.server})
    return Job(RunWriter(folder, info), (arm,), fail_fast)


def new_paired_job(
    arms: tuple[ArmInfo, ...],
    file: Path,
    out: Path,
    *,
    command: Sequence[str],
    order: PairOrder = "abba",
    fail_fast: bool = False,
) -> Job:
    """As `new_job`, of a run that compares two arms."""
    two = arms_from(arms, str(file))
    folder, info = _new_run(two[0], arms, file, out, command)
    return Job(RunWriter(folder, info.model_copy(update={"pair_order": order})), two, fail_fast)


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
        checks=judge_surroundings(look_around()),
        process=Carrier.this(),
    )
    parent = out / file.stem
    run_id = new_run_id(info.sources(), now, parent)
    return parent / run_id, info.model_copy(update={"run_id": run_id})


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
    return Arm(name, experiment, checkpoints, python, server, orchestrator_of(experiment.target))


def resumed_job(folder: Path, *, python: str = sys.executable, fail_fast: bool = False) -> Job:
    """Go on in the folder of a run that did not end.

    Raises:
        UsageError: there is nothing left to do, or a checkpoint is no longer where it was.
    """
    info = read_info(folder)
    if info.status == "complete":
        raise UsageError(
            f"{folder}: this run is complete; `swapbench run {info.experiment_name}` starts another"
        )
    if info.machine != this_machine():
        raise UsageError(
            f"{folder}: begun on another machine, or under other limits ({info.machine.describe()}); "
            "start a new run here"
        )
    for checkpoint in (*info.models, *(model for arm in info.arms for model in arm.models)):
        if not checkpoint.path.exists() and info.worker is not None:
            raise UsageError(f"{folder}: the checkpoint {checkpoint.path} is gone; start a new run")
    origin = str(folder / "run.json")
    alone = _arm("", validate(info.experiment, origin), info.models, python, info.server)
    arms = arms_from(info.arms, origin) or (alone,)
    done = _whole_rounds(finished_swaps(folder), arms)
    drop_unfinished(folder, done)
    for arm in arms:
        refuse_wants(arm.experiment, arm.server)
        if arm.server is not None:
            refuse_missing_keys(arm.server, folder)
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    note = f"resumed {when} after {len(done)} swaps: {info.failure or 'ended without a word'}"
    resumed = {
        "status": "running",
        "failure": "",
        "finished_at": None,
        "notes": (*info.notes, note),
        "process": Carrier.this(),
    }
    return Job(RunWriter(folder, info.model_copy(update=resumed)), arms, fail_fast, done)


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
            follow(events, job.experiment, job.writer, observer)
    finally:
        shutil.rmtree(scratch_dir, ignore_errors=True)


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


def follow(events: Iterable[Event], experiment: Experiment, writer: RunWriter, observer: Observer) -> None:
    """Write a run from its events; on return run.json says `complete`, `incomplete` or `interrupted`.

    Raises:
        KeyboardInterrupt: after everything measured so far is on disk.
    """
    recorder = _Recorder(experiment, writer)
    stopped = ""
    try:
        for event in events:
            recorder.record(event)
            observer.on(event)
            if isinstance(event, RunFinished):
                stopped = event.stopped
    except WorkerError as error:
        _finish(writer, "incomplete", str(error))
    except KeyboardInterrupt:
        _finish(writer, "interrupted", "interrupted by the user")
        raise
    else:
        _finish(writer, "incomplete" if stopped else "complete", stopped)


def _finish(writer: RunWriter, status: str, failure: str) -> None:
    writer.close()
    writer.update(status=status, failure=failure, finished_at=datetime.now(UTC))


class _Recorder:
    """Turns events into rows; remembers only which arm has its turn, and which swap is going on."""

    def __init__(self, experiment: Experiment, writer: RunWriter) -> None:
        self._scenarios = {scenario.name: scenario for scenario in experiment.scenario}
        self._writer = writer
        self._arm = ""
        self._swap: SwapStarted | None = None

    def record(self, event: Event) -> None:
        """Write what belongs on disk."""
        match event:
            case TurnStarted():
                self._arm = event.arm
                self._writer.begin_turn(event.turn, event.arm)
            case WorkerReady():
                self._writer.add_worker(event, self._arm)
            case SwapStarted():
                self._swap = event
            case PhaseMeasured() if self._swap is not None:
                scenario = self._scenarios[event.scenario]
                self._writer.add_phase(event, self._swap.warmup, scenario, self._swap.strategy)
            case SwapFinished():
                self._writer.add_swap(event)
                self._swap = None
            case ClientRequest():
                self._writer.add_request(event)
            case MemorySample():
                self._writer.add_sample(event)
            case Note():
                self._writer.update(notes=(*self._writer.info.notes, event.text))

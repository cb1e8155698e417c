"""run.json: what was run, on what, with what, by which process, and how it ended."""

import hashlib
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swapbench.base.errors import ResultsError
from swapbench.machine.doctor import Check
from swapbench.machine.environment import Limits, Machine
from swapbench.spec.experiment import Experiment, Source
from swapbench.wire.events import WorkerReady
from swapbench.wire.plan import Checkpoint, PairOrder, Server
from swapbench.wire.swap import Reading

# A process id is given to another one some day. When a process began is told by the machine's clock, which
# may have been set meanwhile.
_SAME_WITHIN_S: Final = 60.0


class Carrier(BaseModel):
    """A process that carries a run out: its id means nothing on another machine, nor when it began later.

    Of the machine's name only a digest is kept: results are shown to others.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    started_at: datetime
    host: str

    @classmethod
    def this(cls) -> Self:
        """This process."""
        me = psutil.Process()
        return cls(pid=me.pid, started_at=datetime.fromtimestamp(me.create_time(), UTC), host=_host())

    def is_gone(self) -> bool:
        """Whether it has ended; False where that can't be known, as of another machine's."""
        if self.host != _host():
            return False
        try:
            process = psutil.Process(self.pid)
            ended = process.status() == psutil.STATUS_ZOMBIE
            return ended or abs(process.create_time() - self.started_at.timestamp()) > _SAME_WITHIN_S
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


# 1: first published form.
RESULTS_VERSION: Final = 1

RunStatus = Literal["running", "complete", "incomplete", "interrupted"]

_GONE: Final = "the process that carried it out is gone: killed, or the machine went down"


class ArmInfo(BaseModel):
    """One of the two things that an A/B run compares: what it was carried out with.

    `label` is what it is called in reports; `settings` are the overrides that it has to itself, `notes`
    what a reader should know of it alone, such as what its target can't do.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    label: str
    python: str
    settings: tuple[str, ...] = ()
    experiment: dict[str, Any]
    models: tuple[Checkpoint, ...] = ()
    worker: WorkerReady | None = None
    baselines: tuple[Reading, ...] = ()
    server: Server | None = None
    notes: tuple[str, ...] = ()


class RunInfo(BaseModel):
    """run.json: what was run, on what, with what, and how it ended.

    `python` is the interpreter of an ordinary run's workers, `variables` what of the environment tunes them;
    `rows` and `sizes` are how many, and how many bytes, each table had at the end, None while the run goes
    on. What a newer swapbench has added is carried.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: int = RESULTS_VERSION
    run_id: str
    experiment_name: str
    experiment_file: str
    experiment: dict[str, Any]
    status: RunStatus
    failure: str = ""
    started_at: datetime
    finished_at: datetime | None = None
    command: tuple[str, ...] = ()
    swapbench_version: str
    machine: Machine
    python: str = ""
    variables: dict[str, str] = Field(default_factory=dict)
    worker: WorkerReady | None = None
    baselines: tuple[Reading, ...] = ()
    models: tuple[Checkpoint, ...] = ()
    arms: tuple[ArmInfo, ...] = ()
    pair_order: PairOrder = "abba"
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    limits: Limits | None = None
    transcribed_from: str = ""
    part_of: str = ""
    server: Server | None = None
    process: Carrier | None = None
    rows: dict[str, int] | None = None
    sizes: dict[str, int] | None = None

    def sources(self) -> tuple[Source, ...]:
        """Where the models come from, each once; where none is recorded, as the experiment has it."""
        recorded = tuple(dict.fromkeys(model.source for model in self.all_models()))
        return recorded or (Source(self.experiment.get("source", Source.HUB)),)

    def all_models(self) -> tuple[Checkpoint, ...]:
        """The models of both arms, where the run has arms."""
        return tuple(model for arm in self.arms for model in arm.models) or self.models

    def target_s(self) -> float:
        """The experiment's target for the whole swap, in seconds."""
        return float(self.experiment["target_s"])


def read_info(folder: Path) -> RunInfo:
    """run.json of a run, which is incomplete where it says `running` and nobody is there who could say more.

    Raises:
        ResultsError: as `read`.
    """
    info = _as_written(folder)
    if info.status == "running" and info.process is not None and info.process.is_gone():
        return info.model_copy(update={"status": "incomplete", "failure": _GONE})
    return info


def _as_written(folder: Path) -> RunInfo:
    path = folder / "run.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        # Half a surrogate pair is valid JSON and no text: it could not be printed, nor written.
        json.dumps(raw, ensure_ascii=False).encode("utf-8")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}; `swapbench runs` lists them") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: not valid JSON: {error}") from None
    # Before anything else: a newer form may have changed every other field.
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > RESULTS_VERSION:
        raise ResultsError(
            f"{path}: schema_version {version} is newer than this swapbench reads "
            f"({RESULTS_VERSION}); upgrade swapbench"
        )
    try:
        return RunInfo.model_validate(raw)
    except ValidationError as error:
        raise ResultsError(f"{path}: {_first_fault(error)}") from None


def experiment_in(info: RunInfo, folder: Path) -> Experiment:
    """As `experiment_of`, from run.json alone."""
    try:
        return Experiment.model_validate(info.experiment)
    except ValidationError as error:
        raise ResultsError(f"{folder / 'run.json'}: experiment.{_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"])) or "file"
    return " ".join(f"{where[:160]}: {fault['msg'][:300]}".split())

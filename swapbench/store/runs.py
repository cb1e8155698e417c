"""Runs: what run.json says of one, how one is found by name, and read back from its folder."""

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swapbench.base.errors import IncomparableError, ResultsError, nearest
from swapbench.machine.doctor import Check
from swapbench.machine.environment import Limits, Machine
from swapbench.spec.experiment import Experiment, Source
from swapbench.store.tables import Row, read_rows, read_table
from swapbench.wire.events import WorkerReady
from swapbench.wire.plan import Checkpoint, PairOrder, Server
from swapbench.wire.swap import MEMORY, PHASES, REQUESTS, SWAPS, TABLES, Reading

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
        info = RunInfo.model_validate(raw)
    except ValidationError as error:
        raise ResultsError(f"{path}: {_first_fault(error)}") from None
    if info.status == "running" and info.process is not None and info.process.is_gone():
        return info.model_copy(update={"status": "incomplete", "failure": _GONE})
    return info


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


# Runs that are kept to compare with stand beside the experiments' folders, under these names.
KEPT: Final = ("reference", "baselines")


def find_runs(root: Path) -> list[Path]:
    """The folders below `root` that hold a run, readable or not, without those kept to compare with."""
    return sorted(path.parent for path in root.glob("*/*/run.json") if path.parts[-3] not in KEPT)


def list_runs(root: Path) -> list[tuple[Path, RunInfo]]:
    """Every readable run below `root`, oldest first; transcribed references are not among them."""
    found = []
    for folder in find_runs(root):
        try:
            info = read_info(folder)
        except ResultsError:
            continue
        if not info.transcribed_from:
            found.append((folder, info))
    return sorted(found, key=lambda entry: (entry[1].started_at.timestamp(), entry[0].name))


def resolve(root: Path, name: str | None) -> Path:
    """The folder of a run given by path, by `experiment/run`, by run id, or as None for the latest.

    Raises:
        ResultsError: there is no such run, or it can't be read.
    """
    if name:
        for folder in (Path(name), root / name, *(root / kept / name for kept in KEPT)):
            with suppress(OSError):  # a name that is too long, a folder that may not be entered
                if (folder / "run.json").is_file():
                    return folder
    runs = list_runs(root)
    latest = [(folder, info) for folder, info in runs if not info.part_of]
    if name is None and latest:
        return latest[-1][0]
    found = [folder for folder, info in latest if info.experiment_name == name]
    found += [folder for folder, info in runs if info.run_id == name]
    if found:
        return found[-1]
    for folder in find_runs(root):
        if name in (None, folder.name, folder.parent.name):
            read_info(folder)  # what can't be read says why
    if name is None:
        raise ResultsError(f"no run under {root}; `swapbench run quick` makes one")
    known = [name for _, info in runs for name in (info.experiment_name, info.run_id)]
    near = nearest(name, known)
    hint = f'did you mean "{near}"?' if near else "`swapbench runs` lists them"
    raise ResultsError(f'no run "{name}" under {root}; {hint}')


@dataclass(frozen=True)
class Run:
    """A run read back: run.json and its tables, row by row.

    `damage` is what has become of the tables since it ended.
    """

    folder: Path
    info: RunInfo
    phases: tuple[Row, ...]
    swaps: tuple[Row, ...]
    memory: tuple[Row, ...]
    requests: tuple[Row, ...]
    damage: str = ""

    @property
    def may_lack_tables(self) -> bool:
        """A run that was killed right at its start may not have got as far as its tables."""
        return self.info.status != "complete"


def read(folder: Path) -> Run:
    """Read a run back; a line torn by a crash is left out.

    Raises:
        ResultsError: the folder holds no run, or one this swapbench can't read.
    """
    outline = read_outline(folder)
    return replace(
        outline,
        phases=read_table(folder, PHASES, outline.may_lack_tables),
        memory=read_table(folder, MEMORY, outline.may_lack_tables),
        requests=read_table(folder, REQUESTS, may_lack=True),
    )


def read_whole(folder: Path) -> Run:
    """As `read`, to compare with others.

    Raises:
        IncomparableError: its tables are not those that it ended with.
    """
    run = read(folder)
    if run.damage:
        raise IncomparableError(f"{folder}: {run.damage}")
    return run


def read_outline(folder: Path) -> Run:
    """A run with its swaps only, its other tables left empty: what a list of runs needs.

    Raises:
        ResultsError: as `read`.
    """
    info = read_info(folder)
    changed = damage(folder, info)
    if changed:
        failure = "; ".join(filter(None, (changed, info.failure)))
        info = info.model_copy(update={"status": "incomplete", "failure": failure})
    run = Run(folder, info, (), (), (), (), changed)
    return replace(run, swaps=read_table(folder, SWAPS, run.may_lack_tables))


def raw_files(folder: Path) -> dict[str, bytes]:
    """run.json and the tables that a run has, by name, as they are on disk.

    Raises:
        ResultsError: one of them can't be read.
    """
    names = ("run.json", *(table.file for table in TABLES))
    try:
        return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    except OSError as error:
        raise ResultsError(f"{folder}: can't be read: {error.strerror}") from None


def experiment_of(run: Run) -> Experiment:
    """The experiment that a run carried out, overrides included.

    Raises:
        ResultsError: run.json holds none that this swapbench understands.
    """
    return experiment_in(run.info, run.folder)


def damage(folder: Path, info: RunInfo) -> str:
    """What has become of a run's tables since it ended; empty where they are whole.

    Of thousands of runs a history must know: a table of its old size is not opened.

    Raises:
        ResultsError: as `read_rows`.
    """
    changed = []
    for name, written in (info.rows or {}).items():
        try:
            if (folder / name).stat().st_size == (info.sizes or {}).get(name):
                continue
        except FileNotFoundError:
            changed.append(f"{name} is missing")
            continue
        rows = len(read_rows(folder / name)[1])
        if rows != written:
            changed.append(
                f"{name} has {rows} of its {written} rows" if rows < written else f"{name} has rows added"
            )
    if not changed:
        return ""
    return f"{', '.join(changed)}: changed since the run ended; its figures are not to be believed"

"""Having children try every claim, one process each: what one breaks, or holds, is nobody else's."""

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from swapbench import __version__
from swapbench.base.errors import UsageError, WorkerError
from swapbench.base.process import LENT, how_it_ended
from swapbench.machine.allowance import want_of_files
from swapbench.machine.environment import Limits, Machine, Volume, this_machine

# 1: first published form.
SELFCHECK_VERSION: Final = 1

Result = Literal["right", "wrong", "not here"]


class Claim(NamedTuple):
    """`key` names its check in swapbench.worker.selfcheck."""

    key: str
    what: str
    where: str


CLAIMS: Final = (
    Claim(
        "footprint",
        "a process's footprint is what the system's own tool says (footprint on macOS, smaps_rollup on "
        "Linux)",
        "instruments/ledgers.py",
    ),
    Claim(
        "ledgers",
        "1 GiB that MLX takes is in its active memory at once, and within 0.1 s in footprint and in the "
        "system's available memory; an exact reading has it at once",
        "instruments/ledgers.py",
    ),
    Claim(
        "unload",
        "MLX's active and cache memory fall to nearly nothing when a model is unloaded",
        "loaders/model_loader.py",
    ),
    Claim(
        "wired",
        "wired memory grows with a model that computes, and falls after its unload",
        "instruments/ledgers.py",
    ),
    Claim(
        "worker_footprint",
        "a child's footprint can be read from outside, and is what the child reads itself",
        "instruments/ledgers.py",
    ),
    Claim(
        "eviction",
        "a file of 1 GiB beside the models can be brought into the page cache, and out of it without root",
        "instruments/page_cache.py",
    ),
    Claim("mincore", "mincore tells of what other processes have read, too", "instruments/page_cache.py"),
    Claim(
        "uncached", "reads past the page cache leave nothing of the file in it", "instruments/page_cache.py"
    ),
    Claim(
        "disk_bytes",
        "bytes from disk grow by a file's size when it is read cold, and not when it is read warm",
        "instruments/ledgers.py",
    ),
    Claim(
        "reads",
        "a cold load is no faster than the disk that `swapbench probe` measured, and a warm one is faster "
        "than a cold one",
        "worker/roofline.py",
    ),
    Claim(
        "loaders",
        "every loader's weights are stock's, bit by bit, of an aligned and of an unaligned checkpoint",
        "loaders/",
    ),
    Claim(
        "map",
        "map copies nothing: memory of the process does not grow by the model, not even by the first token, "
        "and the page cache keeps it",
        "loaders/mapped.py",
    ),
    Claim("views", "kernels take views that begin at any multiple of their items' size", "loaders/arrays.py"),
    Claim(
        "longest_buffer",
        "an array over a mapped file may be as long as a buffer of the device",
        "loaders/mapped.py",
    ),
    Claim(
        "substitution",
        "mlx-lm loads weights and tokenizers through what swapbench puts in the place of its own",
        "compat/mlx_lm.py",
    ),
    Claim(
        "other_thread",
        "a model of scaled RoPE computes on another thread than the one that loaded it, the same numbers",
        "loaders/stock.py",
    ),
    Claim(
        "heartbeat",
        "no load by our loaders keeps other Python threads from running for 0.25 s",
        "worker/process.py",
    ),
    Claim(
        "children",
        "a server with its children ends within 5 s of a SIGKILL of whoever started it",
        "worker/targets/http/reaper.py",
    ),
    Claim("listener", "who listens on a port is found without root", "worker/targets/http/process.py"),
    Claim(
        "full_disk",
        "a file that may not grow any more fails with an error, and no signal ends the process",
        "worker/faults.py",
    ),
    Claim(
        "clocks",
        "parent and child have one clock, of a microsecond or less, that runs as the one that counts sleep",
        "worker/process.py",
    ),
    Claim("awake", "no Mac falls asleep while a run goes on", "machine/mac.py"),
    Claim("release", "the system tells its release and its processor's name", "machine/environment.py"),
    Claim("power", "the system tells where its power comes from", "machine/surroundings.py"),
    Claim("low_power", "the system tells whether it saves power", "machine/surroundings.py"),
    Claim("thermal", "the system tells its thermal pressure", "machine/mac.py"),
    Claim("energy", "a machine that computes for 3 s uses between 0.1 and 1,000 W", "machine/energy.py"),
)


class Prepared(BaseModel):
    """What the first child says once the files to try things on are there: of MLX, and of its device."""

    versions: dict[str, str]
    device: str


class Found(BaseModel):
    """What one check has found."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    result: Result
    finding: str


class Row(Found):
    """A claim, tried. Seconds with the start of a process of its own."""

    claim: str
    what: str
    seconds: float


class Selfcheck(BaseModel):
    """Every claim, tried on one machine: the file that belongs to an issue."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    selfcheck_version: int = SELFCHECK_VERSION
    swapbench: str
    machine: Machine
    versions: dict[str, str]
    device: str
    file_system: str
    checked_at: datetime
    rows: tuple[Row, ...]

    def wrong(self) -> Sequence[Row]:
        """What does not hold here."""
        return [row for row in self.rows if row.result == "wrong"]


# The slowest takes some ten seconds on two busy cores.
_LONGEST_S: Final = 60.0
_PREFIX: Final = ".selfcheck-"
_LOCK: Final = "lock"


def selfcheck(
    folder: Path, limits: Limits, say: Callable[[str], None], on_row: Callable[[Row], None]
) -> Selfcheck:
    """Try every claim on the volume of `folder`, in which all that is written is deleted again.

    Args:
        limits: of this machine and that volume.
        say: told what takes its time.
        on_row: hears of each claim as it is tried.

    Raises:
        UsageError: the folder can't be written, or has too little room.
        WorkerError: MLX can't be had, or makes no checkpoint to try things on.
    """
    with _scratch(folder) as scratch:
        say("making three checkpoints to try things on")
        (scratch / "limits.json").write_text(limits.model_dump_json(), encoding="utf-8")
        prepared = _prepared(scratch)
        rows = []
        for claim in CLAIMS:
            rows.append(row := _row(claim, scratch))
            on_row(row)
    return Selfcheck(
        swapbench=__version__,
        machine=this_machine(),
        versions=prepared.versions,
        device=prepared.device,
        file_system=Volume.of(folder).file_system,
        checked_at=datetime.now(UTC),
        rows=tuple(rows),
    )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; --folder chooses another place") from None
    try:
        with (scratch / _LOCK).open("wb") as lock:
            with suppress(OSError):  # a volume without locks: nobody sweeps there
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Delete what self-checks left that were killed: nobody holds their locks any more."""
    for path in folder.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)


def _prepared(scratch: Path) -> Prepared:
    if why := want_of_files():
        raise WorkerError(f"nothing can be tried: {why}")
    try:
        done = _child("prepare", scratch)
        return Prepared.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        raise WorkerError(
            f"nothing can be tried: making checkpoints in {scratch.parent} did not end within "
            f"{_LONGEST_S:g} s; --folder chooses another place"
        ) from None
    except ValidationError:
        raise WorkerError(f"nothing can be tried: {_last_words(done)}") from None


def _row(claim: Claim, scratch: Path) -> Row:
    begun_s = perf_counter()
    try:
        done = _child(claim.key, scratch)
        found = Found.model_validate_json(done.stdout)
    except subprocess.TimeoutExpired:
        found = Found(result="wrong", finding=f"did not end within {_LONGEST_S:g} s")
    except ValidationError:
        found = Found(result="wrong", finding=_last_words(done))
    return Row(
        claim=claim.key,
        what=claim.what,
        result=found.result,
        finding=found.finding,
        seconds=round(perf_counter() - begun_s, 3),
    )


def _child(key: str, scratch: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *LENT, "swapbench.worker.selfcheck", key, str(scratch)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=_LONGEST_S,
        check=False,
    )


def _last_words(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        return f"the process {how_it_ended(done.returncode)}"
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{said[-1]:.300}"

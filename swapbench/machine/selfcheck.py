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
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from swapbench import __version__
from swapbench.base.errors import UsageError, WorkerError
from swapbench.base.process import LENT, how_it_ended
from swapbench.machine.allowance import want_of_files
from swapbench.machine.environment import Fact, Limits, Machine, Volume, this_machine

# 1: first published form.
SELFCHECK_VERSION: Final = 1

Result = Literal["right", "wrong", "not here"]


class Claim(NamedTuple):
    """`key` names its check in swapbench.worker.selfcheck; `where` the module that relies on it."""

    key: str
    what: str
    where: str


_CLAIMS_OF: Final[dict[str, dict[str, str]]] = {
    "instruments/ledgers.py": {
        "footprint": "a process's footprint is what the system's own tool says (footprint on macOS, "
        "smaps_rollup on Linux)",
        "ledgers": "1 GiB that MLX takes is in its active memory at once, and within 0.1 s in footprint and "
        "in the system's available memory; an exact reading has it at once",
        "wired": "wired memory grows with a model that computes, and falls after its unload",
        "worker_footprint": "a child's footprint can be read from outside, and is what it reads itself",
        "disk_bytes": "bytes from disk grow by a file's size when it is read cold, and not when warm",
    },
    "instruments/page_cache.py": {
        "eviction": "a file of 1 GiB beside the models can be brought into the page cache, and out of it "
        "without root",
        "mincore": "mincore tells of what other processes have read, too",
        "uncached": "reads past the page cache leave nothing of the file in it",
    },
    "worker/roofline.py": {
        "reads": "a cold load is no faster than the disk that `swapbench probe` measured, and a warm one is "
        "faster than a cold one",
    },
    "loaders/": {
        "loaders": "every loader's weights are stock's, bit by bit, of aligned and of unaligned checkpoints"
    },
    "loaders/model_loader.py": {
        "unload": "MLX's active and cache memory fall to nearly nothing when a model is unloaded"
    },
    "loaders/mapped.py": {
        "map": "map copies nothing: memory of the process does not grow by the model, not even by the first "
        "token, and the page cache keeps it",
        "longest_buffer": "an array over a mapped file may be as long as a buffer of the device",
    },
    "loaders/arrays.py": {"views": "kernels take views that begin at any multiple of their items' size"},
    "compat/mlx_lm.py": {
        "substitution": "mlx-lm loads weights and tokenizers through what swapbench puts in its own's place"
    },
    "loaders/stock.py": {
        "other_thread": "a model of scaled RoPE computes the same numbers on another thread than the one "
        "that loaded it",
    },
    "worker/process.py": {
        "heartbeat": "no load by our loaders keeps other Python threads from running for 0.25 s",
        "clocks": "parent and child have one clock, of a microsecond or less, that runs as the one that "
        "counts sleep",
    },
    "worker/targets/http/reaper.py": {
        "children": "a server with its children ends within 5 s of a SIGKILL of whoever started it"
    },
    "worker/targets/http/process.py": {"listener": "who listens on a port is found without root"},
    "worker/faults.py": {
        "full_disk": "a file that may not grow any more fails with an error, and no signal ends the process"
    },
    "machine/environment.py": {"release": "the system tells its release and its processor's name"},
    "machine/mac.py": {
        "awake": "no Mac falls asleep while a run goes on",
        "thermal": "the system tells its thermal pressure",
    },
    "machine/surroundings.py": {
        "power": "the system tells where its power comes from",
        "low_power": "the system tells whether it saves power",
    },
    "machine/energy.py": {"energy": "a machine that computes for 3 s uses between 0.1 and 1,000 W"},
}
CLAIMS: Final = tuple(
    Claim(key, what, where) for where, claims in _CLAIMS_OF.items() for key, what in claims.items()
)


class Prepared(Fact):
    """What the first child says once the files to try things on are there: of MLX, and of its device."""

    versions: dict[str, str]
    device: str


class Found(Fact):
    """What one check has found."""

    result: Result
    finding: str


class Row(Found):
    """A claim, tried. Seconds with the start of a process of its own."""

    claim: str
    what: str
    seconds: float


class Selfcheck(Fact):
    """Every claim, tried on one machine: the file that belongs to an issue."""

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

_Answer = TypeVar("_Answer", Prepared, Found)


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
        # What self-checks left that were killed: nobody holds their locks any more.
        for left in folder.glob(f"{_PREFIX}*/{_LOCK}"):
            with suppress(OSError), left.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left.parent, ignore_errors=True)
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


def _prepared(scratch: Path) -> Prepared:
    if why := want_of_files():
        raise WorkerError(f"nothing can be tried: {why}")
    try:
        told = _said("prepare", scratch, Prepared)
    except subprocess.TimeoutExpired:
        raise WorkerError(
            f"nothing can be tried: making checkpoints in {scratch.parent} did not end within "
            f"{_LONGEST_S:g} s; --folder chooses another place"
        ) from None
    if isinstance(told, str):
        raise WorkerError(f"nothing can be tried: {told}")
    return told


def _row(claim: Claim, scratch: Path) -> Row:
    begun_s = perf_counter()
    try:
        told = _said(claim.key, scratch, Found)
    except subprocess.TimeoutExpired:
        told = f"did not end within {_LONGEST_S:g} s"
    found = Found(result="wrong", finding=told) if isinstance(told, str) else told
    seconds = round(perf_counter() - begun_s, 3)
    return Row(**found.model_dump(), claim=claim.key, what=claim.what, seconds=seconds)


def _said(key: str, scratch: Path, answer: type[_Answer]) -> _Answer | str:
    """What a child answers, or why it doesn't."""
    done = subprocess.run(
        [sys.executable, *LENT, "swapbench.worker.selfcheck", key, str(scratch)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=_LONGEST_S,
        check=False,
    )
    try:
        return answer.model_validate_json(done.stdout)
    except ValidationError:
        if done.returncode < 0:
            return f"the process {how_it_ended(done.returncode)}"
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"{words[-1]:.300}"

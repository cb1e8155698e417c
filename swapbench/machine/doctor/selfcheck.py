"""Having children try every claim, one process each: what one breaks, or holds, is nobody else's."""

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals
from time import perf_counter
from typing import Final

from pydantic import ValidationError

from swapbench import __version__
from swapbench.base.errors import UsageError, WorkerError
from swapbench.base.process import LENT
from swapbench.machine.allowance import want_of_files
from swapbench.machine.doctor.claims import CLAIMS, Claim, Found, Prepared, Row, Selfcheck
from swapbench.machine.environment import this_machine
from swapbench.machine.limits import Limits, Volume

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
        return f"the process was ended by {Signals(-done.returncode).name}"
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{said[-1]:.300}"

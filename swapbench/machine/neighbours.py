"""Runs that go on at the same time on one machine: they disturb each other, so each is told of the others."""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

# Of all users, whatever TMPDIR each of them has.
_PLACE: Final = Path("/tmp/swapbench-runs")


@dataclass(frozen=True)
class Presence:
    """A run that has made itself known: by a file that is locked until the run, or its process, ends.

    `others` are the process ids of the runs that went on when it began.
    """

    others: tuple[int, ...] = ()
    _path: Path | None = None
    _file: IO[bytes] | None = None

    @classmethod
    def announce(cls) -> Self:
        """Make this process known, and tell it to the others; where that can't be done, nobody is known."""
        place = Path(os.environ.get("SWAPBENCH_RUNS") or _PLACE)
        name = f"{os.getpid()}.{os.urandom(4).hex()}"
        hidden, path = place / f".{name}", place / name
        try:
            place.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # somebody else's, who has opened it to all
                place.chmod(0o1777)
            file = hidden.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            hidden.rename(path)  # locked before it can be seen
        except OSError:
            return cls()
        return cls(tuple(sorted(_others(place))), path, file)

    def met(self) -> bool:
        """Whether there was another run at its beginning, or one has begun since."""
        return bool(self.others) or (self._file is not None and os.fstat(self._file.fileno()).st_size > 0)

    def leave(self) -> None:
        """The run is over; may be called twice."""
        if self._file is not None and self._path is not None and not self._file.closed:
            with suppress(OSError):
                self._path.unlink()
            self._file.close()


def _others(place: Path) -> set[int]:
    """Whose files are locked; each gets a byte for it. What nobody locks was left by a killed process."""
    others = set()
    for path in place.glob("[0-9]*.*"):
        pid = int(path.name.partition(".")[0])
        if pid == os.getpid():  # this one, or another run that this very process carries out
            continue
        with suppress(OSError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                others.add(pid)
                with path.open("ab") as told:
                    told.write(b".")
    return others

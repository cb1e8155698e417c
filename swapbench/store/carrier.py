"""The process that carries a run out: whether it is still there to say how the run ended."""

import hashlib
import platform
from datetime import UTC, datetime
from typing import Final, Self

import psutil
from pydantic import BaseModel, ConfigDict

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

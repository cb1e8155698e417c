"""What the OS has counted for a process: page faults, and bytes that the disk delivered."""

import resource
from dataclasses import dataclass

from swapbench.instruments.ledgers import Process


@dataclass(frozen=True)
class Counters:
    """What was counted since the process started; None where nobody tells."""

    minor_faults: int | None
    major_faults: int | None
    disk_read_bytes: int | None

    def since(self, earlier: "Counters") -> "Counters":
        """What was counted since `earlier`."""
        return Counters(
            _grown(self.minor_faults, earlier.minor_faults),
            _grown(self.major_faults, earlier.major_faults),
            _grown(self.disk_read_bytes, earlier.disk_read_bytes),
        )


def read_counters(process: Process) -> Counters:
    """The counters of this process now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(usage.ru_minflt, usage.ru_majflt, process.disk_read_bytes())


def _grown(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before

"""What the OS has counted for this process: page faults, and bytes that the disk delivered."""

import resource
from dataclasses import dataclass

from swapbench.ledgers import Process


@dataclass(frozen=True)
class Counters:
    """What was counted since the process started; None where the OS does not tell."""

    minor_faults: int
    major_faults: int
    disk_read_bytes: int | None

    def since(self, earlier: "Counters") -> "Counters":
        """What was counted since `earlier`."""
        disk = None
        if self.disk_read_bytes is not None and earlier.disk_read_bytes is not None:
            disk = self.disk_read_bytes - earlier.disk_read_bytes
        minor = self.minor_faults - earlier.minor_faults
        return Counters(minor, self.major_faults - earlier.major_faults, disk)


def read_counters(process: Process) -> Counters:
    """The counters of this process now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(usage.ru_minflt, usage.ru_majflt, process.disk_read_bytes())

"""`python -m swapbench.worker.selfcheck KEY FOLDER`: prepare FOLDER, or try a claim with what is in it."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from swapbench.base.process import stdout_alone
from swapbench.machine.environment import Volume
from swapbench.machine.selfcheck import Found
from swapbench.worker.selfcheck import loading, not_here, prepare, system

CHECKS: Final[Mapping[str, Callable[[Path], Found]]] = {
    "map": loading.map_copies_nothing,
    "views": loading.views_anywhere,
    **{
        check.__name__: check
        for check in (
            *(loading.unload, loading.wired, loading.reads, loading.loaders, loading.longest_buffer),
            *(loading.substitution, loading.other_thread, loading.heartbeat),
            *(system.footprint, system.ledgers, system.worker_footprint, system.eviction, system.mincore),
            *(system.uncached, system.disk_bytes, system.children, system.listener, system.full_disk),
            *(system.clocks, system.awake, system.release, system.power, system.low_power, system.thermal),
            system.energy,
        )
    },
}

# What is about a disk, and about a page cache that can be emptied.
OF_DISKS: Final = frozenset({"eviction", "mincore", "uncached", "disk_bytes", "reads", "map"})
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def check(key: str, folder: Path) -> Found:
    """Try a claim."""
    if key in OF_DISKS and Volume.of(folder).file_system in _IN_MEMORY:
        return not_here("this volume is in memory; --folder chooses one on a disk")
    return CHECKS[key](folder)


def main() -> None:
    """One line of JSON; whatever libraries print goes to standard error."""
    key, folder = sys.argv[1], Path(sys.argv[2])
    line = stdout_alone()
    found = prepare(folder) if key == "prepare" else check(key, folder)
    line.write(found.model_dump_json() + "\n")
    line.close()
    # Half a model in memory, threads and mappings: nothing of it has to be taken down in order.
    os._exit(0)


if __name__ == "__main__":
    main()

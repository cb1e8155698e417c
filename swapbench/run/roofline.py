"""Having a child measure the machine's limits, and keeping what it finds."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from swapbench.base.errors import UsageError
from swapbench.base.files import why_no_folder
from swapbench.base.process import LENT
from swapbench.machine.environment import Machine, this_machine
from swapbench.machine.limits import Limits, Rate, Volume, load, save
from swapbench.models.cache import cache_root
from swapbench.models.checkpoint import weight_bytes
from swapbench.models.hub import hub_cache
from swapbench.models.stand_ins.store import MADE_SOURCES
from swapbench.spec.experiment import Source
from swapbench.wire.events import Checkpoint


def measure(folder: Path, say: Callable[[str], None]) -> tuple[Limits, Path]:
    """Measure the volume of `folder`, told step by step; returns the limits and the file that keeps them.

    Raises:
        UsageError: there is no room to measure in, or the folder, or swapbench's cache, can't be written.
    """
    if why := why_no_folder(cache_root()):
        raise UsageError(
            f"{cache_root()}: what is found can't be kept there: {why}; SWAPBENCH_CACHE names another folder"
        )
    say(f"measuring the volume of {folder}: under a minute, about 1 GB of disk and memory")
    child = subprocess.Popen(
        [sys.executable, *LENT, "swapbench.worker.roofline", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    rates = []
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for line in child.stdout:
                rates.append(rate := Rate.model_validate_json(line))
                say(f"  {rate.describe()}: {rate.median:.2f} GB/s")
            complaint = child.stderr.read().strip()
        except BaseException:  # whoever ends this doesn't wait for what it is at
            child.kill()
            raise
    if child.returncode or not rates:
        why = complaint.splitlines()[-1] if complaint else f"exit code {child.returncode}"
        raise UsageError(f"{why}; --folder chooses another place")
    limits = Limits(
        machine=this_machine(),
        volume=Volume.of(folder),
        measured_at=datetime.now(UTC),
        rates=tuple(rates),
    )
    return limits, save(limits, cache_root())


def models_folders() -> tuple[Path, ...]:
    """swapbench's cache, and the hub's where this user may have one.

    Raises:
        UsageError: both are in a home folder, and there is none.
    """
    folders = [cache_root()]
    with suppress(UsageError):
        folders.append(hub_cache())
    return tuple(folders)


def models_folder() -> Path:
    """Where models lie: with the stand-ins that swapbench made if there are any, else in the hub's cache."""
    cache, *hub = models_folders()
    return cache if (cache / Source.SYNTHETIC).is_dir() else next(filter(Path.is_dir, hub), cache)


def weights_here() -> dict[str, int]:
    """The bytes of weights of every checkpoint in `models_folders`, by name."""
    cache, *hub = models_folders()
    made = [folder for source in MADE_SOURCES for folder in (cache / source).glob("[!.]*")]
    found = {f"{folder.name} ({folder.parent.name})": weight_bytes(folder) for folder in made}
    for snapshot in (snapshot for folder in hub for snapshot in folder.glob("models--*/snapshots/*")):
        repo = snapshot.parents[1].name.removeprefix("models--").replace("--", "/")
        found[repo] = max(found.get(repo, 0), weight_bytes(snapshot))
    return found


def limits_of(checkpoints: Sequence[Checkpoint], machine: Machine) -> Limits | None:
    """What was found of the volume that a run's models lie on, if it still holds for the machine.

    None where they lie on several: no one disk is the limit then.
    """
    volumes = {Volume.of(checkpoint.path) for checkpoint in checkpoints}
    if len(volumes) != 1 or machine != this_machine():
        return None
    return load(machine, volumes.pop(), cache_root())

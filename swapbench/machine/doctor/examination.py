"""What takes a child process and some seconds: MLX itself, and what the instruments cost."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from swapbench.base.errors import WorkerError
from swapbench.base.process import LENT


class Examination(BaseModel):
    """What the child found. Seconds, bytes, and GB/s (1e9)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlx_version: str
    mlx_lm_version: str
    device: Literal["cpu", "gpu"]
    device_name: str
    working_set_bytes: int | None
    probe_phases: int
    probe_phase_s: float
    probe_phase_most_s: float
    sample_every_s: float
    sampler_share: float
    first_touch_gb_per_s: float
    second_touch_gb_per_s: float
    resident_after_evict: float | None


@dataclass(frozen=True)
class Room:
    """Free space where something is kept."""

    what: str
    folder: Path
    free_bytes: int


def examine(models: Path, python: str = sys.executable) -> Examination:
    """Have a child examine this machine; `models` is where checkpoints lie.

    Raises:
        WorkerError: it could not; the message says why.
    """
    command = [python, *LENT, "swapbench.worker.examine", str(models)]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerError(f"{python}: the examination could not be carried out: {error}") from None
    try:
        return Examination.model_validate_json(done.stdout)
    except ValidationError:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else f"exit code {done.returncode}"
        raise WorkerError(f"MLX could not be examined: {why}") from None


def room_for(what: str, folder: Path) -> Room:
    """Free space on the volume of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return Room(what, folder, shutil.disk_usage(existing).free)

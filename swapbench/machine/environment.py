"""The machine that measures: its identity."""

import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from swapbench.machine import allowance, mac


class Machine(BaseModel):
    """What identifies a machine when its figures are compared with another's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: str
    release: str
    architecture: str
    processor: str
    cores: int
    memory_bytes: int
    # What a run may use of these, and who leaves it less: 0 and empty where nobody does.
    cores_limit: float = 0
    cores_limited_by: str = ""
    memory_limit_bytes: int = 0
    memory_limited_by: str = ""

    @property
    def usable_memory_bytes(self) -> int:
        """What a run may use of its memory."""
        return self.memory_limit_bytes or self.memory_bytes

    def describe(self) -> str:
        """One line of what is known: a transcribed run need not know the cores or the system's release."""
        parts = (
            self.processor,
            self._cores(),
            self._memory(),
            f"{self.system} {self.release}".strip(),
        )
        return ", ".join(part for part in parts if part)

    def _cores(self) -> str:
        limit = f" (limited to {self.cores_limit:g} by {self.cores_limited_by})" if self.cores_limit else ""
        return f"{self.cores} cores{limit}" if self.cores else ""

    def _memory(self) -> str:
        limit_gib = self.memory_limit_bytes / 2**30
        limit = f" (limited to {limit_gib:.1f} GiB by {self.memory_limited_by})" if limit_gib else ""
        return f"{self.memory_bytes / 2**30:.0f} GiB{limit}" if self.memory_bytes else ""


# What changes how MLX, malloc and tokenizers' threads work. Nothing that could be a secret is among them.
_TUNING: Final = re.compile(
    r"(MLX|MALLOC|OMP|RAYON|TOKENIZERS)_\w+|GLIBC_TUNABLES|PYTHONMALLOC|LD_PRELOAD|DYLD_INSERT_LIBRARIES"
)


def tuning() -> dict[str, str]:
    """The environment's variables that a worker's figures hang on."""
    return {name: value for name, value in sorted(os.environ.items()) if _TUNING.fullmatch(name)}


def this_machine() -> Machine:
    """The machine that this process runs on, and what the process may use of it."""
    cores, memory = allowance.processors(), allowance.memory().total
    return Machine(
        system="macOS" if mac.HERE else platform.system(),
        release=_release(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=allowance.machine_memory()[0],
        cores_limit=cores.count if cores.by else 0,
        cores_limited_by=cores.by,
        memory_limit_bytes=memory.bytes if memory.by else 0,
        memory_limited_by=memory.by,
    )


@cache
def _release() -> str:
    return mac.release() or platform.release()


# Neither changes while a process runs, and macOS tells them by programs that are to be started.
@cache
def _processor() -> str:
    if mac.HERE:
        return mac.sysctl("machdep.cpu.brand_string") or platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")

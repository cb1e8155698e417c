"""What swapbench takes for granted of a platform: each claim is tried by `swapbench selfcheck`.

docs/platforms.md is made of this table, so each says what is to be seen, and which module relies on it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from swapbench.machine.environment import Machine

# 1: first published form.
SELFCHECK_VERSION: Final = 1

Result = Literal["right", "wrong", "not here"]


class Claim(NamedTuple):
    """`key` names its check in swapbench.worker.selfcheck."""

    key: str
    what: str
    where: str


CLAIMS: Final = (
    Claim(
        "footprint",
        "a process's footprint is what the system's own tool says (footprint on macOS, smaps_rollup on "
        "Linux)",
        "instruments/ledgers.py",
    ),
    Claim(
        "ledgers",
        "1 GiB that MLX takes is in its active memory at once, and within 0.1 s in footprint and in the "
        "system's available memory; an exact reading has it at once",
        "instruments/ledgers.py",
    ),
    Claim(
        "unload",
        "MLX's active and cache memory fall to nearly nothing when a model is unloaded",
        "loaders/model_loader.py",
    ),
    Claim(
        "wired",
        "wired memory grows with a model that computes, and falls after its unload",
        "instruments/ledgers.py",
    ),
    Claim(
        "worker_footprint",
        "a child's footprint can be read from outside, and is what the child reads itself",
        "instruments/process_tree.py",
    ),
    Claim(
        "eviction",
        "a file of 1 GiB beside the models can be brought into the page cache, and out of it without root",
        "instruments/page_cache.py",
    ),
    Claim("mincore", "mincore tells of what other processes have read, too", "instruments/page_cache.py"),
    Claim(
        "uncached", "reads past the page cache leave nothing of the file in it", "instruments/page_cache.py"
    ),
    Claim(
        "disk_bytes",
        "bytes from disk grow by a file's size when it is read cold, and not when it is read warm",
        "instruments/ledgers.py",
    ),
    Claim(
        "reads",
        "a cold load is no faster than the disk that `swapbench probe` measured, and a warm one is faster "
        "than a cold one",
        "worker/roofline.py",
    ),
    Claim(
        "loaders",
        "every loader's weights are stock's, bit by bit, of an aligned and of an unaligned checkpoint",
        "loaders/",
    ),
    Claim(
        "map",
        "map copies nothing: memory of the process does not grow by the model, not even by the first token, "
        "and the page cache keeps it",
        "loaders/mapped.py",
    ),
    Claim("views", "kernels take views that begin at any multiple of their items' size", "loaders/arrays.py"),
    Claim(
        "longest_buffer",
        "an array over a mapped file may be as long as a buffer of the device",
        "loaders/mapped.py",
    ),
    Claim(
        "substitution",
        "mlx-lm loads weights and tokenizers through what swapbench puts in the place of its own",
        "loaders/building.py",
    ),
    Claim(
        "other_thread",
        "a model of scaled RoPE computes on another thread than the one that loaded it, the same numbers",
        "loaders/evaluation.py",
    ),
    Claim(
        "heartbeat",
        "no load by our loaders keeps other Python threads from running for 0.25 s",
        "worker/process.py",
    ),
    Claim(
        "children",
        "a server with its children ends within 5 s of a SIGKILL of whoever started it",
        "worker/targets/http/keeper.py",
    ),
    Claim("listener", "who listens on a port is found without root", "worker/targets/http/server.py"),
    Claim(
        "full_disk",
        "a file that may not grow any more fails with an error, and no signal ends the process",
        "worker/faults.py",
    ),
    Claim(
        "clocks",
        "parent and child have one clock, of a microsecond or less, that runs as the one that counts sleep",
        "worker/process.py",
    ),
    Claim("awake", "no Mac falls asleep while a run goes on", "machine/mac.py"),
    Claim("release", "the system tells its release and its processor's name", "machine/environment.py"),
    Claim("power", "the system tells where its power comes from", "machine/doctor/surroundings.py"),
    Claim("low_power", "the system tells whether it saves power", "machine/doctor/surroundings.py"),
    Claim("thermal", "the system tells its thermal pressure", "machine/mac.py"),
    Claim("energy", "a machine that computes for 3 s uses between 0.1 and 1,000 W", "machine/energy.py"),
)


class Prepared(BaseModel):
    """What the first child says once the files to try things on are there: of MLX, and of its device."""

    versions: dict[str, str]
    device: str


class Found(BaseModel):
    """What one check has found."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    result: Result
    finding: str


class Row(Found):
    """A claim, tried. Seconds with the start of a process of its own."""

    claim: str
    what: str
    seconds: float


class Selfcheck(BaseModel):
    """Every claim, tried on one machine: the file that belongs to an issue."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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

"""mlx.launch's list of machines: who takes part, and in which order."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapbench.base.errors import UsageError

# mlx.launch starts a rank without ssh for this very spelling, and no other.
HERE: Final = "127.0.0.1"


@dataclass(frozen=True)
class Host:
    """Where a rank runs: the name that ssh knows, and its addresses for the ring."""

    ssh: str
    ips: tuple[str, ...] = ()


def read(path: Path) -> tuple[Host, ...]:
    """The machines of a hostfile, rank 0 first.

    Raises:
        UsageError: there is no such file, or it is none that mlx.launch would take.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; mlx.distributed_config writes hostfiles") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON: {' '.join(str(error).split())}") from None
    hosts = raw.get("hosts") if isinstance(raw, dict) else raw
    if not isinstance(hosts, list) or not hosts:
        raise UsageError(f'{path}: no hosts; a hostfile is a list of {{"ssh": NAME, "ips": [ADDRESS]}}')
    return tuple(_machine(path, number, host) for number, host in enumerate(hosts))


def _machine(path: Path, number: int, host: object) -> Host:
    ssh = host.get("ssh") if isinstance(host, dict) else None
    ips = host.get("ips", []) if isinstance(host, dict) else None
    if not isinstance(ssh, str) or not ssh or not isinstance(ips, list):
        raise UsageError(f'{path}: hosts.{number}: must be {{"ssh": NAME, "ips": [ADDRESS]}}')
    return Host(ssh, tuple(map(str, ips)))

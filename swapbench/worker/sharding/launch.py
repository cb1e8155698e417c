"""Ranks started by mlx.launch, here or by ssh, and ended without asking them."""

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from swapbench.base.process import LENT, OWN_CODE, how_it_ended
from swapbench.spec import hostfile
from swapbench.spec.experiment import Sharded
from swapbench.worker.sharding.messages import TOKEN_VARIABLE

_RANK: Final = "swapbench.worker.sharding.rank"
_TRIES: Final = 100
# mlx.launch's own words for the end of a rank that it started.
_ENDED: Final = re.compile(r"Node with rank (\d+) exited with code (-?\d+)")


class Launch:
    """mlx.launch, running, with all ranks that it started."""

    def __init__(
        self, sharded: Sharded, machines: Sequence[hostfile.Host], report_to: str, token: str
    ) -> None:
        """Start ranks on `machines` that report to an address, HOST:PORT, of this one.

        Raises:
            OSError: mlx.launch can't be started.
        """
        self._codes: dict[int, int] = {}
        self._last_line = ""
        self._word = threading.Condition()
        # What is lent is a file of this machine.
        rank = (*OWN_CODE, "-m", _RANK) if sharded.hostfile else (*LENT, _RANK)
        command = [
            _mlx_launch(),
            *_where(sharded, machines),
            *("--backend", sharded.backend, "--env", f"{TOKEN_VARIABLE}={token}"),
            *("--", sharded.python or sys.executable, *rank, report_to),
        ]
        # In the worker's own process group: whoever ends the worker by its group ends these too.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=sys.stderr, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._listen, name="launcher", daemon=True).start()

    @property
    def ended(self) -> str:
        """How mlx.launch itself ended; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"mlx.launch {how_it_ended(code)}" + (f": {self._last_line}" if self._last_line else "")

    def quieten(self) -> None:
        """Have mlx.launch write to its ranks, which closed their stdin: it then stops to look at it, which
        otherwise takes a whole core (mlx 0.32)."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()

    def fate(self, rank: int, patience_s: float) -> str:
        """How a rank ended, as mlx.launch tells within `patience_s`; empty where it doesn't."""
        with self._word:
            self._word.wait_for(lambda: rank in self._codes, patience_s)
            code = self._codes.get(rank)
        if code is None:
            return ""
        said = f": {self._last_line}" if self._last_line and code >= 0 else ""
        return how_it_ended(code) + said

    def kill(self) -> None:
        """End mlx.launch and every rank on this machine, stopped ones too. Ranks elsewhere end by themselves,
        when their connection does."""
        try:
            ours = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            ours = []
        for process in ours:
            with suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        """Pass on what ranks and mlx.launch print, and note how ranks ended."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            os.write(2, line)
            text = line.decode(errors="replace").strip()
            ended = _ENDED.search(text)
            with self._word:
                if ended:
                    self._codes[int(ended[1])] = int(ended[2])
                    self._word.notify_all()
                elif text:
                    self._last_line = text[:300]


def machines_of(sharded: Sharded) -> tuple[hostfile.Host, ...]:
    """Where the ranks run, rank 0 first.

    Raises:
        UsageError: the hostfile can't be read.
    """
    if sharded.hostfile:
        return hostfile.read(Path(sharded.hostfile))
    return (hostfile.Host(hostfile.HERE, (hostfile.HERE,)),) * sharded.ranks


def own_address(sharded: Sharded, machines: Sequence[hostfile.Host]) -> str:
    """Where ranks find this machine: as it is seen on the way to the first that is another.

    Raises:
        OSError: there is no way to that one.
    """
    if sharded.listen:
        return sharded.listen
    other = next((machine for machine in machines if machine.ssh != hostfile.HERE), None)
    if other is None:
        return hostfile.HERE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(((other.ips or (other.ssh,))[0], 9))  # nothing is sent
        return str(probe.getsockname()[0])


def _mlx_launch() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "mlx.launch"
    return str(beside) if beside.exists() else shutil.which("mlx.launch") or "mlx.launch"


def _where(sharded: Sharded, machines: Sequence[hostfile.Host]) -> list[str]:
    where = ["--hostfile", sharded.hostfile] if sharded.hostfile else ["-n", str(sharded.ranks)]
    here = all(machine.ssh == hostfile.HERE for machine in machines)
    port = sharded.port or (_free_ports(len(machines)) if here else 0)
    return [*where, *(["--starting-port", str(port)] if port else [])]


def _free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on: mlx.launch counts up from one."""
    for _ in range(_TRIES):
        with socket.socket() as probe:
            probe.bind((hostfile.HERE, 0))
            first = int(probe.getsockname()[1])
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise OSError(f"no {count} free ports in a row on this machine; name the first with sharded.port")


def _is_free(port: int) -> bool:
    if port > 65_535:
        return False
    with socket.socket() as probe:
        try:
            probe.bind((hostfile.HERE, port))
        except OSError:
            return False
        return True

"""`swapbench` without waiting for its imports: a process that has them is forked for each command.

What runs is the real command line in a process of its own, which begins where `python -m swapbench` has
imported everything. A process of another environment, as far as Python reads it when it starts or imports,
is forked from another one. Where starting is what a test is about, the test starts Python itself.
"""

import atexit
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

# With what they import: the parent's side.
_ROOMS: Final = ("cli", "report", "run", "compare", "findings", "store")
# Asked for when they are needed; whatever else an environment has may have been read by an import.
_READ_LATE: Final = ("SWAPBENCH_", "HF_", "PYTEST_", "COLUMNS")
_KEPT: Final = 3
_TIMEOUT_S: Final = 240

_origins: OrderedDict[tuple[object, ...], "_Origin"] = OrderedDict()


def run_forked(
    words: list[str], folder: Path, environment: Mapping[str, str], prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """As `subprocess.run([*prefix, sys.executable, "-m", "swapbench", *words], capture_output=True)`."""
    early = {key: value for key, value in environment.items() if not key.startswith(_READ_LATE)}
    key = (*prefix, *sorted(early.items()))
    origin = _origins.pop(key, None) or _Origin(early, prefix)
    _origins[key] = origin
    if len(_origins) > _KEPT:
        _origins.popitem(last=False)[1].end()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = {
            # The bytes that they are: the command's locale may be another.
            "words": [os.fsencode(word).hex() for word in words],
            "folder": os.fsencode(folder).hex(),
            "environment": [
                (os.fsencode(key).hex(), os.fsencode(value).hex()) for key, value in environment.items()
            ],
        }
        code = origin.fork(request, [out.fileno(), err.fileno()])
        return subprocess.CompletedProcess(words, code, _all_of(out), _all_of(err))


def run_forked_text(
    words: list[str], folder: Path, environment: Mapping[str, str], prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """The same, with what was printed as text."""
    done = run_forked(words, folder, environment, prefix)
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


class _Origin:
    """A process with everything imported, that can be forked."""

    def __init__(self, environment: Mapping[str, str], prefix: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-P", __file__, str(theirs.fileno())],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, request: Mapping[str, object], fds: list[int]) -> int:
        """The exit status of a command, negative by the signal that ended it."""
        message = json.dumps(request).encode("ascii")
        socket.send_fds(self._socket, [len(message).to_bytes(8, "big")], fds)
        self._socket.sendall(message)
        pid = int.from_bytes(_read(self._socket, 8), "big")
        self._socket.settimeout(_TIMEOUT_S)
        try:
            return int.from_bytes(_read(self._socket, 8), "big", signed=True)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._socket.settimeout(None)
            _read(self._socket, 8)  # how it ended, or the next command would take that for its own process
            raise
        finally:
            self._socket.settimeout(None)

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


@atexit.register
def _end_all() -> None:
    while _origins:
        _origins.popitem()[1].end()


def _read(source: socket.socket, length: int) -> bytes:
    read = b""
    while len(read) < length:
        more = source.recv(length - len(read))
        if not more:
            raise EOFError("the process that is forked has ended")
        read += more
    return read


def _serve(requests: socket.socket) -> None:
    """Fork for each request; return in the fork, which is then that command."""
    for room in _ROOMS:
        package = importlib.import_module(f"swapbench.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"swapbench.{room}."):
            importlib.import_module(module.name)
    while True:
        length, fds, _, _ = socket.recv_fds(requests, 8, 2)
        if not length:
            os._exit(0)
        request = json.loads(_read(requests, int.from_bytes(length, "big")))
        if not (pid := os.fork()):
            requests.close()
            for number, fd in enumerate(fds, start=1):
                os.dup2(fd, number)
                os.close(fd)
            os.chdir(bytes.fromhex(request["folder"]))
            os.environ.clear()
            os.environb.update({bytes.fromhex(key): bytes.fromhex(of) for key, of in request["environment"]})
            sys.argv = ["swapbench", *(os.fsdecode(bytes.fromhex(word)) for word in request["words"])]
            return
        for fd in fds:
            os.close(fd)
        requests.sendall(pid.to_bytes(8, "big"))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        requests.sendall(status.to_bytes(8, "big", signed=True))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from swapbench.__main__ import main

    main()

"""Runs a server, writes down what it prints, and ends it with all that it started once our stdin is closed.

A process of its own, run by its path so that it starts at once, in a session of its own so that no signal
meant for the worker hits it. Whatever ends the worker closes the pipe: nothing of the server outlives that.

It is told on its first line: {"command": [...], "log": path, "hide": [texts that must not be written]}. It
answers by lines: `pid N` once the server runs, `error TEXT` if it can't be started, `exit N` when it has
ended.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, BinaryIO

_STDIN, _STDOUT = 0, 1
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_LOOK_EVERY_S = 0.1
_GRACE_S = 3.0
_KILLS_FOR_S = 20.0
_LONGEST_LINE_BYTES = 1 << 16
_LONGEST_LOG_BYTES = 64 << 20
_HIDDEN = b"[hidden]"


def main() -> None:
    """Keep one server."""
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(_STDIN, 1)
        if not byte:
            sys.exit(0)
        line += byte
    told = json.loads(line)
    linux = sys.platform == "linux"
    if linux:
        # Orphans of the server become our children, daemons too: so they can be found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def die_with_reaper() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        child = subprocess.Popen(
            told["command"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_reaper if linux else None,
        )
    except OSError as error:
        _say(f"error {error.strerror or error}")
        return
    _say(f"pid {child.pid}")
    family = _Orphans() if linux else _Tracked(child.pid)
    end(family, gently=_attend(child, told, family))


def _say(text: str) -> None:
    with suppress(BrokenPipeError):
        os.write(_STDOUT, text.encode(errors="backslashreplace") + b"\n")


def _attend(child: "subprocess.Popen[bytes]", told: dict[str, Any], family: "_Family") -> bool:
    """Until somebody says stop, or nobody is there any more; whether we were asked."""
    assert child.stdout is not None
    alive = True
    with open(told["log"], "ab", buffering=0) as log, selectors.DefaultSelector() as selector:
        written = _Log(log, [os.fsencode(text) for text in told["hide"]])
        selector.register(_STDIN, selectors.EVENT_READ)
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(_LOOK_EVERY_S):
                data = os.read(key.fd, 1 << 16)
                if key.fd == _STDIN:
                    written.flush()
                    return bool(data)
                if data:
                    written.add(data)
                else:
                    selector.unregister(child.stdout)
            written.flush(_LOOK_EVERY_S)
            family.look()
            if alive and child.poll() is not None:
                alive = False
                written.flush()
                _say(f"exit {child.returncode}")


class _Log:
    """Whole lines, without what must not be in them."""

    def __init__(self, file: BinaryIO, hide: list[bytes]) -> None:
        self._file = file
        self._hide = hide
        self._pending = b""
        self._since_s = 0.0
        self._bytes = 0

    def add(self, data: bytes) -> None:
        self._since_s = time.monotonic()
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._write(line + b"\n")
        if len(self._pending) > _LONGEST_LINE_BYTES:
            self.flush()

    def flush(self, idle_s: float = 0.0) -> None:
        """Write a line that nobody has ended, once nothing was added to it for so long."""
        if self._pending and time.monotonic() - self._since_s >= idle_s:
            self._write(self._pending)
            self._pending = b""

    def _write(self, line: bytes) -> None:
        for text in self._hide:
            line = line.replace(text, _HIDDEN)
        if self._bytes < _LONGEST_LOG_BYTES:
            self._file.write(line)
            self._bytes += len(line)


class _Orphans:
    """Linux: whoever has lost their parent is our child, so none is left when nobody is below us."""

    def look(self) -> None:
        """Nothing to keep in mind."""

    def alive(self) -> list[int]:
        """Everybody below us, once who has ended is waited for."""
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children: dict[int, list[int]] = {}
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - no imports that can wait
            with suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of a program may hold anything; what follows its last bracket does not.
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
        found, left = [], [os.getpid()]
        while left:
            below = children.get(left.pop(), [])
            found += below
            left += below
        return found


class _Tracked:
    """macOS: everything that was ever seen below the server and still runs, by pid and time of birth.

    `family` finds these processes and all below them; mac.py's by default.
    """

    def __init__(self, pid: int, family: Any = None) -> None:
        import runpy
        from pathlib import Path

        import psutil

        self._psutil = psutil
        # By its path, as this file: the interpreter may have no swapbench.
        mac = Path(__file__).parents[3] / "machine" / "mac.py"
        self._family = family or runpy.run_path(str(mac))["family"]
        self._known: set[Any] = set()
        self._add(pid)

    def look(self) -> None:
        # The pid of one that has ended may be a stranger's by now.
        self._known = {process for process in self._known if process.is_running()}
        for pid in self._family([process.pid for process in self._known]):
            self._add(pid)

    def alive(self) -> list[int]:
        self.look()
        return [process.pid for process in self._known if alive(process)]

    def _add(self, pid: int) -> None:
        with suppress(self._psutil.Error):
            self._known.add(self._psutil.Process(pid))


_Family = _Orphans | _Tracked


def end(family: _Family, gently: bool) -> None:
    """End everything below us; the kind way first where there is time for it."""
    if gently:
        _signal(family, signal.SIGTERM, _GRACE_S)
    begun_s = time.monotonic()
    while family.alive() and time.monotonic() - begun_s < _KILLS_FOR_S:
        _signal(family, signal.SIGKILL, _LOOK_EVERY_S)


def _signal(family: _Family, number: int, seconds: float) -> None:
    """Send it to all, and wait until they have ended, or for so long."""
    for pid in family.alive():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    until_s = time.monotonic() + seconds
    while family.alive() and time.monotonic() < until_s:
        time.sleep(0.01)


def alive(process: Any) -> bool:
    """Whether a process of psutil's runs, and is no zombie that nobody has waited for yet."""
    import psutil

    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


if __name__ == "__main__":
    main()

"""A server process of ours: started under a reaper, ready or not, ended with all that it started."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from swapbench.base.process import OWN_CODE, how_it_ended
from swapbench.spec.preset import Preset, ServerProcess, fill_secrets
from swapbench.worker.targets.http import (
    Endpoint,
    Exchange,
    HungError,
    ServerError,
    UnreachableError,
    filled,
    reaper,
)

HOST: Final = "127.0.0.1"
_ASK_EVERY_S: Final = 0.05
# Who is busy starting may be slow to answer, and whoever else has the port may never do.
_READY_ANSWER_S: Final = 2.0
_ENDS_WITHIN_S: Final = 30.0
_TAIL_LINES: Final = 6
_TAIL_CHARACTERS: Final = 400
_ESCAPE: Final = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]+[0-~]|[@-_])|[\x00-\x08\x0e-\x1f]"
)
# Somebody else may take a port between its choice and the server's start.
_PORTS_TRIED: Final = 3
_TAKEN: Final = ("address already in use", "errno 98", "errno 48", "eaddrinuse")
# Linux needs nothing but the standard library to find orphans, and so starts at once.
_LEAN: Final = (*OWN_CODE, "-S") if sys.platform == "linux" else OWN_CODE


class DiedError(ServerError):
    """The server's process has ended."""


class StartedServer:
    """A server that was started here, on one of the models.

    `models` is what stands for {model} {name} {path} {reference} {python}, by their names in the experiment;
    `endpoint` what every request has, and what must not be in the log.
    """

    def __init__(
        self,
        preset: Preset,
        log: Path,
        models: Mapping[str, Mapping[str, str]],
        model: str,
        endpoint: Endpoint,
    ) -> None:
        self._preset = preset
        self._log = log
        self._models = models
        self._model = model
        self._reaper: subprocess.Popen[bytes] | None = None
        self._begins = 0
        self._ended = threading.Event()
        self._exit_code: int | None = None
        self.pid: int | None = None
        self.endpoint = endpoint

    @property
    def alive(self) -> bool:
        return self.pid is not None and not self._ended.is_set()

    def start(self) -> None:
        """Start it on a free port, and wait until it is ready; a ServerError, with the tail of its log, if it
        can't be started, has ended, or is not ready in time."""
        for attempt in range(_PORTS_TRIED):
            self._launch()
            try:
                self._await_ready()
            except ServerError as error:
                self.stop()
                taken = any(sign in self.tail(1000).lower() for sign in _TAKEN)
                if not taken or attempt == _PORTS_TRIED - 1:
                    raise self.told(error) from None
            else:
                return

    def stop(self, gently: bool = False) -> None:
        """End it and all that it started; returns when they are gone."""
        kept = self._reaper
        if kept is None:
            return
        assert kept.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            if gently:
                kept.stdin.write(b"stop\n")
                kept.stdin.flush()
            kept.stdin.close()
        try:
            kept.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            kept.kill()
            kept.wait()
        self._reaper = self.pid = None

    def died(self) -> DiedError:
        code = self._exit_code
        return DiedError(f"the server {'ended' if code is None else how_it_ended(code)}")

    def told(self, error: ServerError) -> ServerError:
        """An error with the last lines of the server's log, or as its end where it has ended."""
        if isinstance(error, UnreachableError):
            # The reaper needs a moment to learn of an end that the socket shows at once.
            self._ended.wait(1.0)
            error = error if self.alive else self.died()
        tail = self.tail(_TAIL_CHARACTERS)
        return type(error)(f"{error}; its log ends: {tail}" if tail else f"{error}; it printed nothing")

    def tail(self, characters: int) -> str:
        """The last that it printed since its start, but for health checks, ours among them; on one line."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._begins, os.fstat(file.fileno()).st_size - (1 << 16)))
                lines = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        checks = "|".join(re.escape(path) for path in (self._preset.health.path, self._preset.ready.path))
        # ollama's log has the path in quotes of its own.
        check = re.compile(rf"\bGET +\"?(?:{checks})(?=[\s\"?])")
        # A progress bar writes over itself.
        shown = (_ESCAPE.sub("", line).strip().rpartition("\r")[2].strip() for line in lines)
        told = [line for line in shown if line and not check.search(f"{line} ")]
        return " | ".join(told[-_TAIL_LINES:])[-characters:]

    def _launch(self) -> None:
        start, folder, port = self._preset.start, self._log.parent, str(free_port())
        assert start is not None
        self.endpoint = replace(self.endpoint, url=f"http://{HOST}:{port}")
        self._ended.clear()
        self._exit_code = None
        self._begins = self._log.stat().st_size if self._log.exists() else 0
        values = {"host": HOST, "port": port, "folder": str(folder), **self._models[self._model]}
        if start.config:
            config = (folder / start.config).absolute()
            each = [str(filled(start.config_model, model)) for model in self._models.values()]
            text = start.config_text.replace("{models}", start.config_between.join(each))
            config.write_text(text.replace("{host}", HOST).replace("{port}", port), encoding="utf-8")
            values["config"] = str(config)
        added = {name: fill_secrets(text, os.environ) for name, text in start.environment.items()}
        kept = subprocess.Popen(
            [sys.executable, *_LEAN, reaper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {k: str(filled(v, values)) for k, v in added.items() if v is not None},
            start_new_session=True,
        )
        self._reaper = kept
        assert kept.stdin is not None
        assert kept.stdout is not None
        command = [str(filled(part, values)) for part in start.command]
        told = {"command": command, "log": str(self._log), "hide": list(self.endpoint.hide)}
        kept.stdin.write(json.dumps(told).encode() + b"\n")
        kept.stdin.flush()
        word, _, rest = kept.stdout.readline().decode().strip().partition(" ")
        if word != "pid":
            self.stop()
            raise DiedError(f"the server can't be started: {command[0]}: {rest or 'its reaper ended'}")
        self.pid = int(rest)
        threading.Thread(target=self._listen, args=(kept, self.pid), name="reaper", daemon=True).start()

    def _listen(self, kept: "subprocess.Popen[bytes]", pid: int) -> None:
        assert kept.stdout is not None
        for line in kept.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "exit" and kept is self._reaper:
                self._exit_code = int(rest)
                self._ended.set()
        # A reaper that was killed could end nobody: what its server started shares the server's group.
        if kept.wait() < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if kept is self._reaper:
                self._ended.set()

    def _await_ready(self) -> None:
        ready = self._preset.ready
        until_s = time.monotonic() + ready.timeout_s
        seen = "nobody listens on its port"
        while time.monotonic() < until_s:
            if not self.alive:
                raise self.died()
            try:
                with Exchange(self.endpoint, ready.method, ready.path, timeout_s=_READY_ANSWER_S) as asked:
                    status = asked.head().status
                if status == ready.status:
                    self._refuse_another()
                    return
                seen = f"{ready.method} {ready.path} answers {status}"
            except (UnreachableError, HungError) as error:
                seen = str(error)
            self._ended.wait(_ASK_EVERY_S)
        raise ServerError(f"the server was not ready within {ready.timeout_s:g} s: {seen}")

    def _refuse_another(self) -> None:
        """Whoever took the port before our server could is somebody else's."""
        port = int(self.endpoint.url.rpartition(":")[2])
        owner = listener(port)
        ours = family(self._reaper.pid) if self._reaper is not None else []
        if owner is not None and owner not in [process.pid for process in ours]:
            raise ServerError(f"address already in use: process {owner} listens on port {port}")


def free_port() -> int:
    """A port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def listener(port: int) -> int | None:
    """The process that listens on a port of this machine; None where the system does not tell."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # of somebody else's
            found = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr]
            if any(connection.laddr[1] == port for connection in found):
                return process.pid
    return None


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it; empty where it has ended."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def processes_of(told: ServerProcess) -> list[int]:
    """Those that a preset names, if it does; a ServerError if it names nobody who runs."""
    if told.pid is not None:
        if not psutil.pid_exists(told.pid):
            raise ServerError(f"[process] pid = {told.pid}: no such process runs here")
        return [told.pid]
    if not told.name:
        return []
    found = [each.pid for each in psutil.process_iter(["name"]) if each.info["name"] == told.name]
    if not found:
        raise ServerError(f'[process] name = "{told.name}": no process of that name runs here')
    below = {child.pid for pid in found for child in family(pid)[1:]}
    return [pid for pid in found if pid not in below]


def names_of(pids: Sequence[int]) -> str:
    """What processes are called."""
    names = []
    for pid in pids:
        with suppress(psutil.Error):
            names.append(psutil.Process(pid).name())
    return ", ".join(dict.fromkeys(names))


_ANSWERS_WITHIN_S: Final = 20.0
_ASK: Final = """
import importlib.metadata as m, json, os, sys
sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions_of(program: str, packages: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """Of packages, in the environment (`variables` beside ours) of the interpreter that runs a program; empty
    where it has none."""
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        python = sys.executable if program == "{python}" else _interpreter_of(program)
        if python and packages:
            asked = subprocess.run(
                [python, "-I", "-c", _ASK, *packages],
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ANSWERS_WITHIN_S,
                check=True,
            )
            return {str(name): str(found) for name, found in json.loads(asked.stdout).items()}
    return {}


def _interpreter_of(program: str) -> str:
    """By its name, or by the first line of a script."""
    where = shutil.which(program)
    if where is None or Path(where).name.startswith("python"):
        return where or ""
    with open(where, "rb") as file:
        line = file.readline(1024)
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if len(words) > 1 and Path(words[0]).name == "env":
        return shutil.which(words[-1]) or ""
    return words[0] if words and Path(words[0]).name.startswith("python") else ""

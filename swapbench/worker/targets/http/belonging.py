"""Whose a server is: the processes behind its address, and the versions of what it is made of."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from swapbench.spec.preset import ServerProcess
from swapbench.worker.targets.http.speaking import ServerError

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


def processes_of(told: ServerProcess, listeners: Sequence[int]) -> list[int]:
    """Those that a preset names, else those that listen.

    Raises:
        ServerError: a preset names nobody who runs.
    """
    if told.pid is not None:
        if not psutil.pid_exists(told.pid):
            raise ServerError(f"[process] pid = {told.pid}: no such process runs here")
        return [told.pid]
    if not told.name:
        return list(listeners)
    found = [process for process in psutil.process_iter(["name"]) if process.info["name"] == told.name]
    if not found:
        raise ServerError(f'[process] name = "{told.name}": no process of that name runs here')
    within = {child.pid for process in found for child in _children(process)}
    return [process.pid for process in found if process.pid not in within]


def names_of(pids: Sequence[int]) -> str:
    """What they are called."""
    names = []
    for pid in pids:
        with suppress(psutil.Error):
            names.append(psutil.Process(pid).name())
    return ", ".join(dict.fromkeys(names))


def versions_of(program: str, packages: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """Of packages, in the environment of the interpreter that runs a program; empty where it has none.

    Args:
        variables: of its environment, beside ours.
    """
    python = sys.executable if program == "{python}" else _interpreter_of(program)
    if not python or not packages:
        return {}
    with suppress(OSError, subprocess.SubprocessError, ValueError):
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
    if where is None:
        return ""
    if Path(where).name.startswith("python"):
        return where
    with suppress(OSError), open(where, "rb") as file:
        line = file.readline(1024)
        words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
        if len(words) > 1 and Path(words[0]).name == "env":
            return shutil.which(words[-1]) or ""
        if words and Path(words[0]).name.startswith("python"):
            return words[0]
    return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []

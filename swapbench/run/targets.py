"""What `target` may say: the engine in the worker itself, a script, or a server by preset, file or URL."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from swapbench.base.errors import UsageError, did_you_mean
from swapbench.base.process import said_by
from swapbench.machine.allowance import want_of_files, want_of_temporary_folder
from swapbench.orchestrator import GROUP
from swapbench.spec.experiment import Experiment, FaultKind, PageCache
from swapbench.spec.preset import read_preset, shipped
from swapbench.wire.plan import Server


@dataclass(frozen=True)
class BuiltIn:
    """A target in the worker itself, and what there is to tell of it."""

    title: str
    swap: str
    reports: str
    tested_on: str = ""


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "inprocess": BuiltIn(
        "mlx-lm's models under the reference engine, in the worker itself",
        swap="eight phases",
        reports="everything",
        tested_on="Linux (MLX's CPU build)",
    ),
    "sharded": BuiltIn(
        "one model on several ranks, by mlx-lm's sharded_load",
        swap="eight phases, on each rank",
        reports="everything, by rank",
        tested_on="Linux (MLX's CPU build), two ranks on one machine",
    ),
    "scripted": BuiltIn(
        "no model: times and memory from a script",
        swap="as the script says",
        reports="as the script says",
    ),
}

# A server's scheduler takes long prompts other ways. Those that take too long to compute are left out.
_LONG_PROMPTS: Final = (8, 512, 2100)

# What an OpenAI-compatible server is asked by, of which nothing else is known.
_GENERIC: Final = "openai"

_ASK: Final = """
import json
from importlib.metadata import entry_points
print(json.dumps({point.name: point.value for point in entry_points(group=sys.argv[1])}))
"""

_SCHEMES: Final = ("http://", "https://")

# For a server on another machine.
_CONNECT_S: Final = 5.0


@dataclass(frozen=True)
class Fitted:
    """An experiment as its target can carry it out, the server if it is one, and what was left out of it."""

    experiment: Experiment
    server: Server | None
    orchestrator: str = ""
    notes: tuple[str, ...] = ()


@cache
def orchestrators(python: str = sys.executable) -> Mapping[str, str]:
    """Orchestrators of others that an interpreter has installed, as module:class by name.

    Raises:
        UsageError: it does not say.
    """
    if python == sys.executable:
        return {point.name: point.value for point in entry_points(group=GROUP)}
    said, last = said_by(python, _ASK, GROUP)
    if not said:
        raise UsageError(f"{python}: does not say which targets it has installed: {last}")
    found: dict[str, str] = json.loads(said)
    return found


def orchestrator_of(target: str, python: str) -> str:
    """Where the worker's interpreter has the orchestrator of that name; empty where the target is none."""
    return "" if target in BUILT_IN else orchestrators(python).get(target, "")


def server_of(target: str, python: str = sys.executable) -> Server | None:
    """The server that a target is; None for those in the worker itself.

    Args:
        target: `inprocess`, `scripted`, a preset's name or file, a URL, or `PRESET@URL`.
        python: the worker's interpreter, whose orchestrators are targets too.

    Raises:
        UsageError: there is no such target, or its preset is wrong.
    """
    if target in BUILT_IN or orchestrator_of(target, python):
        return None
    name, at, url = target.partition("@")
    if target.startswith(_SCHEMES):
        name, url = _GENERIC, target
    elif at and not url.startswith(_SCHEMES):
        raise UsageError(f'target "{target}": after the @ there has to be a URL, as http://127.0.0.1:8080')
    path, known = Path(name), shipped()
    if path.suffix != ".toml" and len(path.parts) <= 1:
        if name not in known:
            there = "" if python == sys.executable else f" for {python}"
            others = (*BUILT_IN, *known, *orchestrators(python))
            raise UsageError(f'no target "{name}"{there}; {did_you_mean(name, others)}')
        path = known[name]
    preset = read_preset(path)
    if not url and preset.start is None and not preset.models.urls:
        url = preset.url
        if not url:
            raise UsageError(
                f'target "{target}": it can\'t be started by swapbench: say where one runs, as '
                f"{name}@http://127.0.0.1:8080"
            )
    for where in filter(None, (url, *preset.models.urls.values())):
        _refuse_url_with_more(where)
    return Server(preset=preset, url=url.rstrip("/"))


def refuse_missing_keys(server: Server, origin: object) -> None:
    """Keys come from the environment alone.

    Raises:
        UsageError: one is not there; `origin` says who wants it.
    """
    for variable, optional in server.preset.secrets().items():
        if not optional and not os.environ.get(variable):
            raise UsageError(
                f"{origin}: the environment variable {variable} is not set: it holds the key of "
                f"{server.preset.title}"
            )


def refuse_missing_program(server: Server) -> None:
    """What starts a server has to be there.

    Raises:
        UsageError: it isn't.
    """
    start = server.preset.start
    if start is None or server.url or start.command[0] == "{python}":
        return
    if shutil.which(start.command[0]) is None:
        raise UsageError(
            f"{start.command[0]}: no such program on the PATH, and it is to start {server.preset.title}; "
            "install it, or put its path into [start] command of a copy of the preset"
        )


def refuse_silent(server: Server) -> None:
    """A server that swapbench doesn't start has to run already: it is looked for before anything is measured.

    Raises:
        UsageError: nobody listens there.
    """
    started = server.preset.start is not None and not server.url
    for url in () if started else filter(None, (server.url, *server.preset.models.urls.values())):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), _CONNECT_S).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: what can be no host's name
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"{url}: no server listens there ({why}); start it, or say where it runs: "
                f"--target {server.preset.name}@http://127.0.0.1:8080"
            ) from None


def _refuse_url_with_more(url: str) -> None:
    """Keys in URLs end up in results and logs."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "a target's URL is scheme, host, port and path alone; keys come from the environment, by the "
            "preset's [headers]"
        )
    try:
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{url}: no URL of a server; say it as http://127.0.0.1:8080")


def fit(experiment: Experiment, python: str = sys.executable) -> Fitted:
    """What of an experiment its target can carry out, in a worker of that interpreter.

    Raises:
        UsageError: as `server_of`, or what is asked for can't be had from outside a server.
    """
    server = server_of(experiment.target, python)
    orchestrator = orchestrator_of(experiment.target, python) if server is None else ""
    target, title = f'target "{experiment.target}"', "the engine" if server is None else server.preset.title
    possible = _faults_of(server)
    if impossible := [str(fault.kind) for fault in experiment.fault if fault.kind not in possible]:
        kinds = ", ".join(dict.fromkeys(impossible))
        raise UsageError(f"{target}: {kinds}: no fault that can be committed on {title}")
    if server is not None:
        refuse_missing_keys(server, target)
    if (server is not None or orchestrator) and list(experiment.strategy) != ["stock"]:
        raise UsageError(
            f"{target}: strategies are ways of the engine in the worker; a server has its own: leave "
            "--strategy out"
        )
    if server is None:
        return Fitted(experiment, None, orchestrator)
    if server.preset.swap.by == "request" and (again := experiment.reloads(experiment.models)):
        raise UsageError(
            f'scenario "{again[0]}": both models are the same, and {title}, asked for what it has, would '
            "swap nothing; name another model"
        )
    changes: dict[str, object] = {"settle_after_unload": False, "touch_free_memory": False}
    reports = (f"{title} reports {figure.where}: {figure.means}" for figure in server.preset.reported)
    notes = [*server.preset.notes, *reports]
    if experiment.verify.tokens and (server.preset.start is None or server.url):
        notes.append(
            "each model is held against what it said first in this run: one that is always wrong is not seen"
        )
    if "prompt_tokens" not in experiment.verify.model_fields_set:
        changes["verify"] = experiment.verify.model_copy(update={"prompt_tokens": _LONG_PROMPTS})
    if not server.preset.reads_paths:
        changes["page_cache"] = PageCache.AS_IS
        changes["scenario"] = tuple(s.model_copy(update={"page_cache": None}) for s in experiment.scenario)
        notes.append("page cache as it is: where the server keeps its models is not known")
    return Fitted(experiment.model_copy(update=changes), server, notes=tuple(notes))


def _faults_of(server: Server | None) -> set[FaultKind]:
    """Faults that can be committed. A server has to be told of a damaged checkpoint by its folder; where
    calls swap, there is no client of the swap that could go away.
    """
    if server is None:  # nobody asks the engine for a model by name, and no client holds it up
        return set(FaultKind) - {FaultKind.MISSING_MODEL, FaultKind.CLIENT_GONE}
    possible = {FaultKind.KILL, FaultKind.MISSING_MODEL}
    if server.preset.swap.by == "request":
        possible.add(FaultKind.CLIENT_GONE)
    if sys.platform == "linux":
        possible.add(FaultKind.DISK_FULL)
    if "{path}" in server.preset.models.name:
        possible |= {FaultKind.MISSING_SHARD, FaultKind.TRUNCATED_SHARD, FaultKind.CORRUPT_HEADER}
        possible.add(FaultKind.OTHER_SHAPES)
    return possible


def refuse_wants(experiment: Experiment, server: Server | None) -> None:
    """mlx-lm wants more open files than some services and containers allow, and MLX a place to compile in.

    Raises:
        UsageError: they are wanted here, and can't be had.
    """
    if server is None:
        wanted = experiment.target in ("inprocess", "sharded")
    else:
        start = server.preset.start
        wanted = not server.url and start is not None and "mlx_lm" in start.command
    if wanted and (why := want_of_files() or want_of_temporary_folder()):
        raise UsageError(why)

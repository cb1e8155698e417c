"""The servers of a preset: where they are, whether they run, how they are called, what they tell."""

import math
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

import psutil

from swapbench.spec.preset import BYTES, SECONDS, Call, Reported, Until
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.worker.engine.requests import HELLO
from swapbench.worker.meter import TreeMeter
from swapbench.worker.targets.http import (
    Endpoint,
    Exchange,
    GarbledError,
    HungError,
    ServerError,
    UnreachableError,
    dig,
    filled,
    filled_headers,
)
from swapbench.worker.targets.http.completion import Completion, Voice
from swapbench.worker.targets.http.process import StartedServer, family, listener, names_of, processes_of

_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
# A server that can't be started is not tried for ever.
_STARTS_TRIED: Final = 2
_SOUND_S: Final = 5.0
_TELLS_WITHIN_S: Final = 10.0
# No server that computes with models is smaller, whatever these weigh.
_LEAST_SERVER_BYTES: Final = 64 << 20


# Of the experiment's timeout, so that what hangs is told before whoever waits for us loses patience.
_TIMEOUT_SHARE: Final = 0.8
_GREETING_TOKENS: Final = 8


class Servers:
    """One server for all models, or one for each; started here, or running already; and what they are asked.

    `asks` is False where computing is so slow that nobody waits for tokens.
    """

    def __init__(self, plan: Plan) -> None:
        assert plan.server is not None
        self.preset = preset = plan.server.preset
        self._url = plan.server.url
        self._log = plan.server.log
        self.timeout_s = plan.experiment.swap_timeout_s * _TIMEOUT_SHARE
        # The keys that the preset takes from the environment are told nowhere.
        hide = tuple(value for name in preset.secrets() if (value := os.environ.get(name)))
        self._nowhere = Endpoint("", filled_headers(preset.headers), hide)
        self._running: dict[str, StartedServer] = {}
        self._failed_starts = 0
        self._started: set[str] = set()
        self._forgotten = False
        self.restarts = 0
        self._urls = [url for url in (self._url, *preset.models.urls.values()) if url]
        self.startable = preset.start is not None and not self._url
        self.per_model = self.startable and preset.start is not None and preset.start.per_model
        self._models = {model.name: self._values_of(model) for model in plan.checkpoints.values()}
        self.names = {name: values["model"] for name, values in self._models.items()}
        self._here = all(urlsplit(url).hostname in _LOOPBACK for url in self._urls)
        self.meter = TreeMeter(self._here)
        self._voice = Voice()
        self._serial = random.SystemRandom().randrange(1_000_000)
        self.asks = True

    def runs(self, model: str) -> bool:
        """Whether a server of ours for this model is alive."""
        running = self._of(model)
        return running is not None and running.alive

    def ensure_started(self, model: str) -> bool:
        """Start what is not running, and watch it; whether it was started. May raise a ServerError."""
        if not self.startable:
            if not self._forgotten:
                self.watch_running()
            return False
        if self.runs(model):
            return False
        if self._failed_starts >= _STARTS_TRIED:
            raise ServerError(f"not started again: it failed {self._failed_starts} times in a row")
        key = model if self.per_model else ""
        if (dead := self._running.pop(key, None)) is not None:
            dead.stop()
        started = StartedServer(self.preset, self._log, self._models, model, self._nowhere)
        self._failed_starts += 1
        started.start()
        self._failed_starts = 0
        self.restarts += key in self._started
        self._started.add(key)
        self._running[key] = started
        self.meter.watch([running.pid for running in self._running.values() if running.pid is not None])
        return True

    def processes(self) -> list[psutil.Process]:
        """Of all that are looked at, with their children."""
        return [process for pid in self.meter.pids for process in family(pid)]

    def watch_running(self) -> str:
        """Look at the processes of a server on this machine that runs already; what they are called."""
        if not self._here:
            return ""
        listeners = (listener(urlsplit(url).port or 80) for url in self._urls)
        pids = processes_of(self.preset.process) or [pid for pid in listeners if pid is not None]
        self.meter.watch(pids)
        return names_of(pids)

    def forget_forwarder(self, weight_bytes: int) -> str:
        """Of whoever listens and holds no model, look at no memory any more; says so, once."""
        if self.startable or self._forgotten or not self._here:
            return ""
        held = self.meter.read()
        bytes_ = (held.footprint_bytes or 0) + (held.file_backed_bytes or 0)
        if held.footprint_bytes is None or bytes_ >= max(_LEAST_SERVER_BYTES, weight_bytes // 2):
            return ""
        name = self.watch_running()
        self._forgotten = True
        self.meter.watch([])
        return (
            f"{name} listens at {self._url}, and holds {bytes_ / (1 << 20):.1f} MiB, less than the model: it "
            "is not the server, whose memory is not told; [process] of a preset can name that"
        )

    @contextmanager
    def fresh(self, model: str) -> Iterator[None]:
        """A server that has never swapped, started on this model, in the place of the one that runs."""
        self.stop(gently=True)
        self.ensure_started(model)
        try:
            yield
        finally:
            self.stop(gently=True)
            self._started.clear()

    def refuse_unsound(self) -> None:
        """Raise a ServerError if a server of ours is dead, or deaf for some seconds."""
        for running in self._running.values():
            if not running.alive:
                raise running.died()
            with Exchange(running.endpoint, "GET", self.preset.ready.path, timeout_s=_SOUND_S) as check:
                check.head()

    def endpoint(self, model: str) -> Endpoint:
        """Where a model is to be had; an UnreachableError if nowhere."""
        url = self.preset.models.urls.get(model) or self._url
        if not url:
            running = self._of(model) or next(iter(self._running.values()), None)
            if running is None:
                raise UnreachableError("the server is not running")
            url = running.endpoint.url
        url = url.rstrip("/")
        if self.preset.ask.path.startswith("/v1/"):
            # Servers print their URL with the /v1 that a preset's paths begin with.
            url = url.removesuffix("/v1")
        return replace(self._nowhere, url=url)

    @contextmanager
    def telling(self, model: str) -> Iterator[None]:
        """Failures within are told with the tail of the server's log, and as its end where it has ended."""
        try:
            yield
        except ServerError as error:
            running = self._of(model)
            if running is None:
                raise
            raise running.told(error) from None

    def stop(self, gently: bool = False) -> None:
        for running in self._running.values():
            running.stop(gently)
        self._running.clear()
        self.meter.watch([])

    def start(
        self,
        model: Checkpoint,
        prompt: str,
        tokens: int = _GREETING_TOKENS,
        timeout_s: float | None = None,
        session: str = "swapbench",
    ) -> Completion:
        """Send a prompt; a ServerError if nobody listens."""
        name = self.names[model.name]
        asked = {"model": name, "prompt": prompt, "max_tokens": tokens, "session": session}
        endpoint = self.endpoint(model.name)
        return Completion(endpoint, self.preset.ask, asked, timeout_s or self.timeout_s, self._voice)

    def whole(
        self, model: Checkpoint, prompt: str, tokens: int = _GREETING_TOKENS, timeout_s: float | None = None
    ) -> Completion:
        """As `start`, read to its end; a ServerError if it has none."""
        with self.telling(model.name), closing(self.start(model, prompt, tokens, timeout_s)) as answer:
            answer.await_end()
        return answer

    def start_short(self, model: Checkpoint, prompt: str) -> Completion:
        """A short request; the shortest there is, where nobody waits for tokens."""
        return self.start(model, prompt) if self.asks else self.start(model, prompt.partition(" ")[0], 1)

    def greet(self, model: Checkpoint) -> None:
        """A real request, read to its end: what a server still computes would be in the next swap."""
        with closing(self.start_short(model, self.prompt())) as answer:
            answer.await_end()

    def prompt(self, text: str = HELLO) -> str:
        """Another beginning each time: servers keep what they have computed of a prompt."""
        self._serial += 1
        return f"{self._serial % 1_000_000:06d} {text}"

    def _of(self, model: str) -> StartedServer | None:
        return self._running.get(model if self.per_model else "")

    def _values_of(self, model: Checkpoint) -> dict[str, str]:
        path, known = str(model.path.absolute()), self.preset.models.names
        values = {"path": path, "name": model.name, "reference": model.reference, "python": sys.executable}
        name = known.get(model.name, known.get(model.reference))
        return values | {"model": name or str(filled(self.preset.models.name, values))}


class Calls:
    """Carries out a preset's calls for a swap from `old` to `new`; asks what the server tells of itself."""

    def __init__(self, servers: Servers) -> None:
        self._preset = servers.preset
        self._servers = servers
        self._timeout_s = servers.timeout_s
        self._instances: dict[str, str] = {}
        self.note = ""

    def swap(self, new: Checkpoint, old: Checkpoint | None, only: str = "") -> Any:
        """The calls of a swap, in order, about an old model only where there is one; the last answer."""
        document = None
        for call in self._preset.swap.call:
            about_old = call.of == "old" or "{old}" in call.model_dump_json()
            if (about_old and old is None) or (only and call.of != only):
                continue
            document = self._carry_out(call, new, old or new)
        return document

    def unload(self, models: Sequence[Checkpoint]) -> None:
        """Where a server may hold more than one model, what is to be loaded must not be there already."""
        for model in models:
            for call in self._preset.unload:
                with suppress(ServerError):  # most often: it was not loaded
                    self._carry_out(call, model, model)

    def told(self, source: str, document: Any) -> dict[str, Any]:
        """What a document tells, as fields of an outcome."""
        found: dict[str, Any] = {}
        for reported in self._preset.reported:
            if reported.source == source:
                found |= figure(reported, document, "")
        return found

    def told_when_asked(self, model: Checkpoint) -> dict[str, Any]:
        """Asked beside the swap; a server that does not say is no failure."""
        found: dict[str, Any] = {}
        name = self._servers.names[model.name]
        for reported in self._preset.reported:
            if reported.path is not None:
                with suppress(ServerError):
                    document = self._get(model.name, _path(reported.path, {"model": name}), _TELLS_WITHIN_S)
                    found |= figure(reported, document, name)
        return found

    def version(self) -> str:
        """As the server tells it; empty where it doesn't."""
        told = self._preset.version
        model = next(iter(self._servers.names))
        if told is not None:
            with suppress(ServerError):
                found = dig(self._get(model, told.path, _TELLS_WITHIN_S), told.where)
                return self._servers.endpoint(model).shown(found) if isinstance(found, str) else ""
        return ""

    def _carry_out(self, call: Call, new: Checkpoint, old: Checkpoint) -> Any:
        name, gone = self._servers.names[new.name], self._servers.names[old.name]
        values = {"model": name, "old": self._instances.get(old.name, gone)}
        endpoint = self._servers.endpoint((new if call.of == "new" else old).name)
        path = _path(call.path, values)
        body = None if call.body is None else filled(call.body, values)
        headers = filled_headers(call.headers)
        with Exchange(endpoint, call.method, path, body, headers, self._timeout_s) as exchange:
            exchange.expect(*call.status)
            document = exchange.document()
        if call.where and (there := dig(document, call.where)) != filled(call.equals, values):
            said = endpoint.shown(repr(there))
            raise GarbledError(f"{call.method} {path}: {call.where} is {said}, not {call.equals!r}")
        if call.instance and isinstance(instance := dig(document, call.instance), str):
            self._instances[new.name] = instance
            if instance != name:
                self.note = f"{name} was loaded as {endpoint.shown(instance)}: it was resident already"
        if call.until is not None:
            self._await(call.until, values, (new if call.until.of == "new" else old).name)
        return document

    def _await(self, until: Until, values: Mapping[str, str], model: str) -> None:
        path, wanted = _path(until.path, values), filled(until.equals, values)
        where = str(filled(until.where, values))
        give_up_s = time.monotonic() + self._timeout_s
        while dig(self._get(model, path, self._timeout_s), where) != wanted:
            if time.monotonic() > give_up_s:
                raise HungError(f"GET {path}: {where} is not {wanted!r} after {self._timeout_s:g} s")
            time.sleep(until.every_s)

    def _get(self, model: str, path: str, timeout_s: float) -> Any:
        with Exchange(self._servers.endpoint(model), "GET", path, timeout_s=timeout_s) as exchange:
            exchange.expect(200)
            return exchange.document()


def _path(template: str, values: Mapping[str, str]) -> str:
    """A path with names of models in it."""
    return str(filled(template, {key: quote(value, safe="/:") for key, value in values.items()}))


_FIELDS: Final = {
    "load": "reported_load_s",
    "memory": "reported_memory_bytes",
    "kv_capacity": "kv_capacity_bytes",
}


def figure(reported: Reported, document: Any, model: str) -> dict[str, Any]:
    """A figure that a document tells, as a field of an outcome; empty where it tells none."""
    value = dig(document, reported.where, model)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return {}
    field = _FIELDS.get(reported.what, reported.what)
    if reported.unit in SECONDS:
        return {field: value * SECONDS[reported.unit]}
    return {field: int(value * BYTES.get(reported.unit, 1))}

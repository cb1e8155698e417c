"""The server, or the servers, of a preset: where they are, whether they run, and why one does not answer."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

import psutil

from swapbench.wire.plan import Checkpoint, Plan
from swapbench.worker.meter import TreeMeter
from swapbench.worker.targets.http.client import (
    Endpoint,
    Exchange,
    ServerError,
    UnreachableError,
    filled,
    filled_headers,
    secrets_of,
)
from swapbench.worker.targets.http.completion import Completion, Question, Voice
from swapbench.worker.targets.http.process import StartedServer, listener, names_of, processes_of

GREETING_TOKENS: Final = 8
_GREETING: Final = "Hello, who is answering now?"
_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
# A server that can't be started is not tried for ever.
_STARTS_TRIED: Final = 2
_SOUND_S: Final = 5.0
# No server that computes with models is smaller, whatever these weigh.
_LEAST_SERVER_BYTES: Final = 64 << 20


class Servers:
    """One server for all models, or one for each; started here, or running already."""

    def __init__(self, plan: Plan) -> None:
        assert plan.server is not None
        self._plan = plan
        self.preset = plan.server.preset
        self._url = plan.server.url
        self._log = plan.server.log
        self._hide = secrets_of(self.preset)
        self._headers = filled_headers(self.preset.headers)
        self._running: dict[str, StartedServer] = {}
        self._failed_starts = 0
        self._started: set[str] = set()
        self._forgotten = False
        self.restarts = 0
        self._urls = [url for url in (self._url, *self.preset.models.urls.values()) if url]
        self.startable = self.preset.start is not None and not self._url
        self.per_model = self.startable and self.preset.start is not None and self.preset.start.per_model
        self.names = {name: self._name_of(name) for name in plan.checkpoints}
        self._here = all(urlsplit(url).hostname in _LOOPBACK for url in self._urls)
        self.meter = TreeMeter(self._here)

    def runs(self, model: str) -> bool:
        """Whether a server of ours for this model is alive."""
        running = self._of(model)
        return running is not None and running.alive

    def ensure_started(self, model: str) -> bool:
        """Start what is not running, and watch it; whether it was started.

        Raises:
            ServerError: it does not start.
        """
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
        started = StartedServer(self.preset, self._log, self.names, self._plan.checkpoints, self._hide, model)
        try:
            started.start(self._headers)
        except ServerError:
            self._failed_starts += 1
            raise
        self._failed_starts = 0
        self.restarts += key in self._started
        self._started.add(key)
        self._running[key] = started
        self.meter.watch([running.pid for running in self._running.values() if running.pid is not None])
        return True

    def processes(self) -> list[psutil.Process]:
        """Of all that are looked at, with their children."""
        found: list[psutil.Process] = []
        for pid in self.meter.pids:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found

    def watch_running(self) -> str:
        """Look at the processes of a server on this machine that runs already; what they are called."""
        if not self._here:
            return ""
        listeners = [listener(urlsplit(url).port or 80) for url in self._urls]
        pids = processes_of(self.preset.process, [pid for pid in listeners if pid is not None])
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
        """A server that has never swapped, started on this model, in the place of the one that runs.

        Raises:
            ServerError: it does not start.
        """
        self.stop(gently=True)
        self.ensure_started(model)
        try:
            yield
        finally:
            self.stop(gently=True)
            self._started.clear()

    def refuse_unsound(self) -> None:
        """Find the servers of ours that are dead, or deaf for some seconds.

        Raises:
            ServerError: one is.
        """
        for running in self._running.values():
            if not running.alive:
                raise running.died()
            endpoint = Endpoint(running.url, self._headers, self._hide)
            with Exchange(endpoint, "GET", self.preset.ready.path, timeout_s=_SOUND_S) as check:
                check.head()

    def endpoint(self, model: str) -> Endpoint:
        """Where a model is to be had.

        Raises:
            UnreachableError: nowhere.
        """
        url = self.preset.models.urls.get(model) or self._url
        if not url:
            running = self._of(model) or next(iter(self._running.values()), None)
            if running is None:
                raise UnreachableError("the server is not running")
            url = running.url
        url = url.rstrip("/")
        if self.preset.ask.path.startswith("/v1/"):
            # Servers print their URL with the /v1 that a preset's paths begin with.
            url = url.removesuffix("/v1")
        return Endpoint(url, self._headers, self._hide)

    @contextmanager
    def telling(self, model: str) -> Iterator[None]:
        """Failures within are told with the tail of the server's log, and as its end where it has ended."""
        try:
            yield
        except ServerError as error:
            running = self._of(model)
            if running is None:
                raise
            if isinstance(error, UnreachableError):
                # The reaper needs a moment to learn of an end that the socket shows at once.
                running.await_end(1.0)
                if not running.alive:
                    error = running.died()
            raise type(error)(running.with_tail(str(error))) from None

    def stop(self, gently: bool = False) -> None:
        for running in self._running.values():
            running.stop(gently)
        self._running.clear()
        self.meter.watch([])

    def _of(self, model: str) -> StartedServer | None:
        return self._running.get(model if self.per_model else "")

    def _name_of(self, name: str) -> str:
        model, known = self._plan.checkpoints[name], self.preset.models.names
        values = {"path": str(model.path.absolute()), "name": name, "reference": model.reference}
        return known.get(name, known.get(model.reference)) or str(filled(self.preset.models.name, values))


class Completions:
    """Asks the models of the servers for text.

    `asks` is False where computing is so slow that nobody waits for tokens.
    """

    def __init__(self, plan: Plan, servers: Servers, timeout_s: float) -> None:
        self._ask = servers.preset.ask
        self._servers = servers
        self._timeout_s = timeout_s
        self._voice = Voice()
        self._serial = random.SystemRandom().randrange(1_000_000)
        self.asks = True

    def start(
        self,
        model: Checkpoint,
        prompt: str,
        tokens: int = GREETING_TOKENS,
        timeout_s: float | None = None,
        session: str = "swapbench",
    ) -> Completion:
        """Send a prompt.

        Raises:
            ServerError: nobody listens.
        """
        question = Question(self._servers.names[model.name], prompt, tokens, session)
        endpoint = self._servers.endpoint(model.name)
        return Completion(endpoint, self._ask, question, timeout_s or self._timeout_s, self._voice)

    def whole(
        self,
        model: Checkpoint,
        prompt: str,
        tokens: int = GREETING_TOKENS,
        timeout_s: float | None = None,
        session: str = "swapbench",
        spoken: bool = False,
    ) -> Completion:
        """As `start`, read to its end.

        Raises:
            ServerError: it has none, or, where it is to be `spoken`, no text.
        """
        with (
            self._servers.telling(model.name),
            closing(self.start(model, prompt, tokens, timeout_s, session)) as answer,
        ):
            if spoken:
                answer.await_text()
            answer.await_end()
        return answer

    def start_short(self, model: Checkpoint, prompt: str) -> Completion:
        """A short request; the shortest there is, where nobody waits for tokens."""
        if self.asks:
            return self.start(model, prompt)
        return self.start(model, prompt.partition(" ")[0], 1)

    def greet(self, model: Checkpoint) -> None:
        """A real request, read to its end: what a server still computes would be in the next swap."""
        with closing(self.start_short(model, self.prompt())) as answer:
            answer.await_end()

    def prompt(self, text: str = _GREETING) -> str:
        """Another beginning each time: servers keep what they have computed of a prompt."""
        self._serial += 1
        return f"{self._serial % 1_000_000:06d} {text}"

"""A server seen from outside: it is asked to swap, and what a client can see of that is measured."""

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import quote, urlsplit

from swapbench import page_cache
from swapbench.files import write_atomically
from swapbench.preset import BYTES, SECONDS, Call, Reported
from swapbench.wire import Checkpoint, ClientRequest, Plan, PlannedSwap, Reply, Server
from swapbench.worker.heartbeat import DeafError
from swapbench.worker.preparing import keep_page_cache, set_page_cache
from swapbench.worker.probe import Probe
from swapbench.worker.settling import Settled, settle
from swapbench.worker.targets import Audit, Outcome, Restored, Steady
from swapbench.worker.targets.http.asking import Answer, Question, filled
from swapbench.worker.targets.http.flight import InFlight, Landed
from swapbench.worker.targets.http.meter import TreeMeter
from swapbench.worker.targets.http.server import Running, filled_headers, listener, secrets_of
from swapbench.worker.targets.http.speaking import (
    Endpoint,
    Exchange,
    GarbledError,
    HungError,
    ServerError,
    UnreachableError,
    dig,
)
from swapbench.worker.verification import MismatchError

# Of the experiment's timeout, so that what hangs is told before whoever waits for us loses patience.
_PATIENCE_SHARE: Final = 0.8
# Requests that are still silent so long after the swap are stalled.
_LANDS_WITHIN_S: Final = 60.0
_LANDS_AFTER_FAILURE_S: Final = 2.0
_GREETING_TOKENS: Final = 8
_GREETING: Final = "Hello, who is answering now?"
_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
# A server that can't be started is not tried for ever.
_STARTS_TRIED: Final = 2
# A health check without an answer for so long is asked again: the silence goes on meanwhile.
_HEALTH_S: Final = 10.0

# Of these a client sees nothing: not known is not none.
_NOTHING_SEEN: Final = Outcome(
    drained_requests=None,
    carried_requests=None,
    evicted_caches=None,
    evicted_bytes=None,
    prefilled_tokens=None,
    ahead_bytes=None,
    kept_bytes=None,
)


class HttpTarget:
    """Serves one model at a time, as far as anybody outside can tell."""

    def __init__(self, plan: Plan) -> None:
        assert plan.server is not None
        self._plan = plan
        self._server: Server = plan.server
        self._preset = plan.server.preset
        self._hide = secrets_of(self._preset)
        self._headers = filled_headers(self._preset.headers)
        self._names = {name: self._name_of(model) for name, model in plan.checkpoints.items()}
        self._patience_s = plan.swap_timeout_s * _PATIENCE_SHARE
        urls = [url for url in (plan.server.url, *self._preset.models.urls.values()) if url]
        self.meter = TreeMeter(all(urlsplit(url).hostname in _LOOPBACK for url in urls))
        self._running: dict[str, Running] = {}
        self._failed_starts = 0
        self._said = _Remembered(plan)
        self._serial = random.SystemRandom().randrange(1_000_000)
        self._served: Checkpoint | None = None
        self._fallback: Checkpoint | None = None
        self._planned: PlannedSwap | None = None
        self._asks = True
        self._watched = ""
        self._trigger: Answer | None = None
        self._flying: tuple[InFlight, ...] = ()
        self._landed: tuple[Landed, ...] = ()
        self._outcome = _NOTHING_SEEN

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions of the packages that the server is made of, where it runs on this interpreter."""
        versions = {}
        for package in self._preset.packages if self._startable else ():
            with suppress(PackageNotFoundError):
                versions[package] = version(package)
        where = f" at {self._server.url}" if self._server.url else ""
        return versions, f"{self._preset.name}{where}"

    def serve(self, checkpoint: Checkpoint) -> None:
        """Have the server answer by `checkpoint`, started where need be."""
        self._outcome = _NOTHING_SEEN
        self._give_up_what_flies()
        self._landed = ()
        self._asks = self._plan.first_token
        self._ensure_started(checkpoint.name)
        if self._served == checkpoint:
            return
        old, self._served = self._served, None
        if old is None:
            self._unload(*(other for other in self._plan.checkpoints.values() if other != checkpoint))
        if self._preset.swap.by == "call":
            self._call_for(checkpoint, old)
        self._greet(checkpoint)
        if self._asks and not self._said.knows(checkpoint.name):
            self.verify(checkpoint)
        self._served = checkpoint

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """A server is not known to refuse anything."""
        scenario = self._plan.scenario(planned.scenario)
        self._planned, self._watched = planned, to.name
        self._asks = self._plan.first_token if scenario.first_token is None else scenario.first_token

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Set the page cache, and put requests in flight, being answered."""
        self._park(to)
        self._unload(to)
        label = self._plan.page_cache_of(planned.scenario)
        if self._preset.reads_paths:
            set_page_cache(to, label)
        scenario, work = self._plan.scenario(planned.scenario), self._plan.workload
        count = work.requests if scenario.requests is None else scenario.requests
        old = self._served
        assert old is not None
        self._flying = tuple(
            InFlight(
                f"in-flight-{n}",
                old.name,
                self._ask(old, self._prompt(work.prompt_tokens), work.decode_tokens),
            )
            for n in range(1, count + 1)
        )
        for request in self._flying:
            request.start()
        if self._preset.reads_paths:
            keep_page_cache(to, label)
            self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """Ask for the other model, or call for the swap, as the preset says."""
        self._fallback, self._served = self._served, None
        self._trigger = None
        probe.begin()
        try:
            if self._preset.swap.by == "call":
                with probe.whole():
                    document = self._call_for(to, self._fallback)
                self._outcome = replace(self._outcome, seen="call", **self._reported("call", document))
            else:
                self._swap_by_asking(to, probe)
        except UnreachableError as error:
            raise self._explained(error, to.name) from None
        except ServerError as error:
            raise type(error)(self._with_tail(str(error), to.name)) from None
        self._served = to

    def outcome(self) -> Outcome:
        """What the last swap did, as far as can be seen."""
        return self._outcome

    def first_token(self, probe: Probe) -> None:
        """The request that swapped has brought one already; after a call, one is asked for."""
        assert self._served is not None
        if self._preset.swap.by == "call":
            answer = self._ask(self._served, self._prompt(), _GREETING_TOKENS)
            self._trigger = answer
            with probe.first_token():
                answer.await_text()

    def steady(self) -> Steady:
        """The same request again, of another beginning so that no cached prompt answers it."""
        assert self._served is not None
        tokens = max(self._plan.steady_tokens, 1)
        answer = self._ask(self._served, self._prompt(), tokens)
        try:
            answer.await_end()
        finally:
            answer.close()
        first_s = None if answer.first_text_s is None else answer.first_text_s - answer.sent_s
        self._report_from(answer, only_memory=True)
        return Steady(first_s, answer.tokens_per_s)

    def verify(self, to: Checkpoint) -> int | None:
        """Greedy replies, word for word as when this model was first served in this run.

        Raises:
            MismatchError: it says something else, or what another model says.
        """
        if self._plan.verify.tokens == 0:
            return None
        said = tuple(self._reply(to, length) for length in self._plan.verify.prompt_tokens)
        texts = tuple(text for text, _ in said)
        if not any(texts):
            return None
        self._said.compare(to.name, texts)
        return sum(pieces for _, pieces in said)

    def restore(self) -> Restored:
        """Nothing that could be seen."""
        return Restored(None, None, None)

    def replies(self) -> tuple[Reply, ...]:
        """Tokens can't be seen; texts are compared by `verify`."""
        return ()

    def health(self) -> None:
        """Ask the server's own health check.

        Raises:
            DeafError: it did not answer.
        """
        try:
            with Exchange(
                self._endpoint(self._watched), "GET", self._preset.health.path, patience_s=_HEALTH_S
            ) as check:
                check.head()
        except ServerError as error:
            raise DeafError(str(error)) from None

    def roll_back(self) -> None:
        """Have the old model served again: by a new server, where the old one is dead or silent."""
        old = self._fallback
        assert old is not None
        self._give_up_what_flies(_LANDS_AFTER_FAILURE_S)
        self._asks = self._plan.first_token
        self._served = None
        try:
            self._ensure_sound()
            if self._preset.swap.by == "call":
                self._call_for(old, None)
            self._greet(old)
        except ServerError:
            if not self._startable:
                raise
            self._stop_all()
            self._ensure_started(old.name)
            if self._preset.swap.by == "call":
                self._call_for(old, None)
            self._greet(old)
        self._served = old

    def answer(self) -> None:
        """A real request."""
        if self._served is None:
            raise RuntimeError("no model is served")
        self._greet(self._served)

    def audit(self) -> Audit:
        """No caches can be seen."""
        return Audit(0, 0)

    def finish(self) -> int:
        """Read the swapping request to its end, and wait for what was in flight: how many were answered."""
        if self._trigger is not None:
            try:
                self._trigger.await_end()
                self._report_from(self._trigger)
            except ServerError as error:
                # Where nobody is asked for tokens, computing may well be too slow to be waited for.
                if self._asks or not isinstance(error, HungError):
                    raise type(error)(self._with_tail(str(error), self._watched)) from None
            finally:
                self._trigger.close()
                self._trigger = None
        self._report_by_get()
        until_s = time.perf_counter() + min(_LANDS_WITHIN_S, self._patience_s)
        self._landed += tuple(request.land(until_s) for request in self._flying)
        self._flying = ()
        outcomes = [landed.outcome for landed in self._landed]
        self._outcome = replace(
            self._outcome,
            failed_requests=outcomes.count("failed"),
            stalled_requests=outcomes.count("stalled"),
        )
        return outcomes.count("answered")

    def clients(self, begun_s: float) -> tuple[ClientRequest, ...]:
        """What became of the requests that were in flight."""
        planned = self._planned
        if planned is None:
            return ()
        zero_s = self.meter.clock_origin_ns / 1e9 + begun_s
        return tuple(
            ClientRequest(
                round=planned.round,
                scenario=planned.scenario,
                strategy=self._plan.strategy,
                client=number,
                request=landed.name,
                sent_s=landed.sent_s - zero_s,
                first_token_s=None if landed.first_text_s is None else landed.first_text_s - zero_s,
                answered_s=None if landed.ended_s is None else landed.ended_s - zero_s,
                model=landed.model if landed.outcome == "answered" else "",
                outcome=landed.outcome,
                longest_gap_s=landed.longest_gap_s,
                error=landed.error,
            )
            for number, landed in enumerate(self._landed, start=1)
        )

    def settle(self) -> Settled:
        """Watch the ledgers of the server."""
        return settle(self.meter)

    def close(self) -> None:
        """Stop the server, if it is ours."""
        self._give_up_what_flies()
        self._stop_all(gently=True)

    # Swapping.

    def _swap_by_asking(self, to: Checkpoint, probe: Probe) -> None:
        """The request that makes the server swap: until its first piece of text, or its first byte."""
        with probe.whole(answers=self._asks):
            self._trigger = answer = self._ask_shortly(to)
            answer.await_byte()
            if self._asks:
                answer.await_text()
        assert answer.first_byte_s is not None
        self._outcome = replace(
            self._outcome,
            seen="token" if self._asks else "byte",
            to_first_byte_s=answer.first_byte_s - answer.sent_s,
        )

    def _call_for(self, to: Checkpoint, old: Checkpoint | None) -> Any:
        """The preset's calls, in order, those about an old model only where there is one; the last answer."""
        document = None
        for call in self._preset.swap.call:
            if old is None and (call.of == "old" or "{old}" in call.model_dump_json()):
                continue
            document = self._call(call, to, old)
        return document

    def _call(self, call: Call, new: Checkpoint, old: Checkpoint | None) -> Any:
        values = {"model": self._names[new.name], "old": "" if old is None else self._names[old.name]}
        whose = new if call.of == "new" or old is None else old
        path = _path(call.path, values)
        body = None if call.body is None else filled(call.body, values)
        with Exchange(
            self._endpoint(whose.name),
            call.method,
            path,
            body,
            filled_headers(call.headers),
            self._patience_s,
        ) as exchange:
            exchange.expect(*call.status)
            document = exchange.document()
        if call.where and (there := dig(document, call.where)) != filled(call.equals, values):
            raise GarbledError(f"{call.method} {path}: {call.where} is {there!r}, not {call.equals!r}")
        if call.until is not None:
            self._await(call, values, new, old)
        return document

    def _unload(self, *models: Checkpoint) -> None:
        """Where a server may hold more than one model, what is to be loaded must not be there already."""
        for model in models:
            for call in self._preset.unload:
                with suppress(ServerError):  # most often: it was not loaded
                    self._call(call, model, model)

    def _await(self, call: Call, values: Mapping[str, str], new: Checkpoint, old: Checkpoint | None) -> None:
        until = call.until
        assert until is not None
        whose = new if until.of == "new" or old is None else old
        path, wanted = _path(until.path, values), filled(until.equals, values)
        give_up_s = time.monotonic() + self._patience_s
        while True:
            with Exchange(self._endpoint(whose.name), "GET", path, patience_s=self._patience_s) as exchange:
                exchange.expect(200)
                there = dig(exchange.document(), until.where)
            if there == wanted:
                return
            if time.monotonic() > give_up_s:
                raise HungError(
                    f"GET {path}: {until.where} is {there!r} after {self._patience_s:g} s, not {wanted!r}"
                )
            time.sleep(until.every_s)

    def _park(self, to: Checkpoint) -> None:
        """Where each model has a server of its own, the new one's is to be there, asleep, before the swap."""
        if not self._per_model or (to.name in self._running and self._running[to.name].alive):
            return
        old = self._served
        assert old is not None
        for call in self._preset.swap.call:
            if call.of == "old":
                self._call(call, to, old)
        self._ensure_started(to.name)
        for call in self._preset.swap.call:
            self._call(call, old, to)

    # Asking.

    def _ask(self, model: Checkpoint, prompt: str, tokens: int) -> Answer:
        question = Question(self._names[model.name], prompt, tokens)
        return Answer(self._endpoint(model.name), self._preset.ask, question, self._patience_s)

    def _ask_shortly(self, model: Checkpoint) -> Answer:
        """A short request; the shortest there is, where computing is so slow that nobody waits for tokens."""
        if self._asks:
            return self._ask(model, self._prompt(), _GREETING_TOKENS)
        return self._ask(model, self._prompt().partition(" ")[0], 1)

    def _greet(self, model: Checkpoint) -> None:
        """A real request, read to its end: what a server still computes would be in the next swap."""
        try:
            answer = self._ask_shortly(model)
            try:
                answer.await_end()
            finally:
                answer.close()
        except UnreachableError as error:
            raise self._explained(error, model.name) from None
        except ServerError as error:
            raise type(error)(self._with_tail(str(error), model.name)) from None

    def _reply(self, model: Checkpoint, length: int) -> tuple[str, int]:
        answer = self._ask(model, _words(length), self._plan.verify.tokens)
        try:
            answer.await_end()
        finally:
            answer.close()
        return answer.text, len(answer.pieces)

    def _prompt(self, words: int = 0) -> str:
        """Another beginning each time: servers keep what they have computed of a prompt."""
        self._serial += 1
        return f"{self._serial % 1_000_000:06d} {_words(words) if words else _GREETING}"

    def _name_of(self, model: Checkpoint) -> str:
        known = self._preset.models.names
        also = known.get(model.name, known.get(model.reference))
        values = {"path": str(model.path.absolute()), "name": model.name, "reference": model.reference}
        return also or str(filled(self._preset.models.name, values))

    def _endpoint(self, model: str) -> Endpoint:
        url = self._preset.models.urls.get(model) or self._server.url
        running = self._running.get(model if self._per_model else "")
        if not url and running is None:
            running = next(iter(self._running.values()), None)
        if not url and running is None:
            raise UnreachableError("the server is not running")
        return Endpoint(url or (running.url if running else ""), self._headers, self._hide)

    # What the server says of itself.

    def _report_from(self, answer: Answer, only_memory: bool = False) -> None:
        for event in answer.events:
            found = self._reported("answer", event)
            if only_memory:
                found.pop("reported_load_s", None)
            self._outcome = replace(self._outcome, **found)

    def _report_by_get(self) -> None:
        """Asked beside the swap; a server that does not say is no failure."""
        for figure in self._preset.reported:
            if figure.source != "get" or self._served is None:
                continue
            with suppress(ServerError):
                path = _path(figure.path or "", {"model": self._names[self._served.name]})
                with Exchange(self._endpoint(self._served.name), "GET", path, patience_s=10.0) as exchange:
                    exchange.expect(200)
                    document = exchange.document()
                self._outcome = replace(self._outcome, **_figure(figure, document))

    def _reported(self, source: str, document: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for figure in self._preset.reported:
            if figure.source == source:
                found |= _figure(figure, document)
        return found

    # The process.

    @property
    def _startable(self) -> bool:
        return self._preset.start is not None and not self._server.url

    @property
    def _per_model(self) -> bool:
        return self._startable and self._preset.start is not None and self._preset.start.per_model

    def _ensure_started(self, model: str) -> None:
        """Start what is not running; watch what is."""
        if not self._startable:
            self._watch_listeners()
            return
        key = model if self._per_model else ""
        running = self._running.get(key)
        if running is not None and running.alive:
            return
        if self._failed_starts >= _STARTS_TRIED:
            raise ServerError(f"not started again: it failed {self._failed_starts} times in a row")
        if running is not None:
            running.stop()
        if not key or (self._served is not None and self._served.name == key):
            self._served = None
        started = Running(
            self._preset,
            self._server.log,
            self._names,
            self._plan.checkpoints,
            self._hide,
            model if key else "",
        )
        try:
            started.start(self._headers)
        except ServerError:
            self._failed_starts += 1
            raise
        self._failed_starts = 0
        self._running[key] = started
        self.meter.watch([r.pid for r in self._running.values() if r.pid is not None])

    def _watch_listeners(self) -> None:
        """Of a server on this machine that runs already, the process that listens."""
        urls = [url for url in (self._server.url, *self._preset.models.urls.values()) if url]
        if all(urlsplit(url).hostname in _LOOPBACK for url in urls):
            pids = [listener(urlsplit(url).port or 80) for url in urls]
            self.meter.watch([pid for pid in pids if pid is not None])

    def _ensure_sound(self) -> None:
        """A server that is dead, or deaf for some seconds, is started anew."""
        for running in list(self._running.values()):
            sound = running.alive
            if sound:
                try:
                    with Exchange(
                        Endpoint(running.url, self._headers, self._hide),
                        "GET",
                        self._preset.ready.path,
                        patience_s=5.0,
                    ) as check:
                        check.head()
                except ServerError:
                    sound = False
            if not sound:
                raise running.died()

    def _stop_all(self, gently: bool = False) -> None:
        for running in self._running.values():
            running.stop(gently)
        self._running.clear()
        self.meter.watch([])
        self._served = None

    def _explained(self, error: UnreachableError, model: str) -> ServerError:
        """Why nobody answers: most often the process is gone."""
        running = self._running_of(model)
        if running is not None:
            # The keeper needs a moment to learn of an end that the socket shows at once.
            running.await_end(1.0)
            if not running.alive:
                return type(running.died())(self._with_tail(str(running.died()), model))
        return UnreachableError(self._with_tail(str(error), model))

    def _with_tail(self, what: str, model: str) -> str:
        running = self._running_of(model)
        return what if running is None else running.with_tail(what)

    def _running_of(self, model: str) -> Running | None:
        return self._running.get(model if self._per_model else "")

    def _give_up_what_flies(self, patience_s: float = 0.0) -> None:
        if self._trigger is not None:
            self._trigger.close()
            self._trigger = None
        until_s = time.perf_counter() + patience_s
        self._landed += tuple(request.land(until_s) for request in self._flying)
        self._flying = ()

    def _look_at_page_cache(self, to: Checkpoint) -> None:
        share = page_cache.residency(page_cache.weight_files(to.path)).share
        self._outcome = replace(self._outcome, resident_before=share)


class _Remembered:
    """What each model said when it was first served in this run; another worker of it goes on with that."""

    def __init__(self, plan: Plan) -> None:
        self._file = plan.scratch_dir / "replies.json"

    def knows(self, model: str) -> bool:
        """Whether it has been served before."""
        return model in self._read()

    def compare(self, model: str, texts: tuple[str, ...]) -> None:
        """Remember, or compare.

        Raises:
            MismatchError: it is another answer than before, or another model's.
        """
        known = self._read()
        for other, said in known.items():
            if other != model and said == texts and known.get(model) != texts:
                raise MismatchError(
                    f"{model} answers word for word as {other} does: the server answers with the wrong model"
                )
        if model not in known:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({**known, model: texts}))
        elif known[model] != texts:
            raise MismatchError(f"{model} answers otherwise than when it was first served in this run")

    def _read(self) -> dict[str, tuple[str, ...]]:
        try:
            return {model: tuple(texts) for model, texts in json.loads(self._file.read_text("utf-8")).items()}
        except FileNotFoundError:
            return {}


def _path(template: str, values: Mapping[str, str]) -> str:
    """A path with names of models in it."""
    return str(filled(template, {key: quote(value, safe="/:") for key, value in values.items()}))


def _figure(reported: Reported, document: Any) -> dict[str, Any]:
    value = dig(document, reported.where)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return {}
    if reported.what == "load":
        return {"reported_load_s": value * SECONDS[reported.unit]}
    return {"reported_memory_bytes": int(value * BYTES[reported.unit])}


_PROSE: Final = [
    "the",
    "old",
    "port",
    "lay",
    "quiet",
    "while",
    "small",
    "boats",
    "came",
    "home",
    "one",
    "by",
    "one",
    "and",
    "every",
    "lamp",
    "was",
    "lit",
    "again",
]


def _words(count: int) -> str:
    """So many plain words, always the same."""
    return " ".join(_PROSE[n % len(_PROSE)] for n in range(count))

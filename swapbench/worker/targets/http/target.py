"""A server seen from outside: it is asked to swap, and what a client can see of that is measured."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import ClientRequest, PlannedSwap, Recovery, Restored, Steady, SwapOutcome
from swapbench.worker.meter import TreeMeter
from swapbench.worker.preparation import keep_page_cache, set_page_cache
from swapbench.worker.probe import Probe
from swapbench.worker.process import DeafError
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets import Target
from swapbench.worker.targets.http.calls import Calls
from swapbench.worker.targets.http.client import Exchange, HungError, ServerError
from swapbench.worker.targets.http.completion import Completion
from swapbench.worker.targets.http.process import versions_of
from swapbench.worker.targets.http.references import Verifier
from swapbench.worker.targets.http.servers import Completions, Servers
from swapbench.worker.targets.http.workload import Clients, Conversations

# Of the experiment's timeout, so that what hangs is told before whoever waits for us loses patience.
_TIMEOUT_SHARE: Final = 0.8
# Requests that are still silent so long after the swap are stalled.
_LANDS_WITHIN_S: Final = 60.0
_LANDS_AFTER_FAILURE_S: Final = 2.0
# A health check without an answer for so long is asked again: the silence goes on meanwhile.
_HEALTH_S: Final = 10.0


class HttpTarget(Target):
    """Serves one model at a time, as far as anybody outside can tell."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        assert plan.server is not None
        self._preset = plan.server.preset
        self._url = plan.server.url
        self._timeout_s = plan.experiment.swap_timeout_s * _TIMEOUT_SHARE
        self._servers = Servers(plan)
        self.meter: TreeMeter = self._servers.meter
        self._calls = Calls(self._preset, self._servers, self._timeout_s)
        self._completions = Completions(plan, self._servers, self._timeout_s)
        self._verifier = Verifier(plan, self._servers, self._completions, self._note)
        self._clients = Clients(plan, self._completions)
        self._conversations = Conversations(plan.experiment.workload, self._completions)
        self._planned: PlannedSwap | None = None
        # The model that is swapped to, which is the one whose health is asked for.
        self._watched = ""
        self._trigger: Completion | None = None
        self._hot_s: float | None = None
        self._outcome = SwapOutcome()

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions, of the server's own interpreter or as it tells them; and where it is, its process."""
        if self._servers.startable and self._preset.start is not None:
            start = self._preset.start
            return versions_of(start.command[0], self._preset.packages, start.environment), self._preset.name
        told = self._calls.version()
        process = self._servers.watch_running()
        whose = f", process {process}" if process else ""
        return {self._preset.name: told} if told else {}, f"{self._preset.name} at {self._url}{whose}"

    def serve(self, checkpoint: Checkpoint) -> None:
        self._outcome = SwapOutcome()
        self._servers.restarts = 0
        self._give_up_what_flies()
        self._clients.landed = ()
        for model in self._verifier.missing():
            self._served = None
            self._verifier.refer(model)
        self._completions.asks = self._plan.asks_of(checkpoint.name)
        if self._servers.ensure_started(checkpoint.name) and not self._parked(checkpoint):
            self._served = None
        if self._served == checkpoint:
            return
        old, self._served = self._served, None
        if old is None:
            others = [other for other in self._plan.checkpoints.values() if other != checkpoint]
            self._calls.unload(others)
        try:
            self._have_served(checkpoint, old)
        except ServerError as error:
            self._serve_anew(checkpoint, error)
        self._verifier.recognise(checkpoint)
        if why := self._servers.forget_forwarder(checkpoint.weight_bytes):
            self._note(why)
        self._served = checkpoint

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        self._planned, self._watched = planned, to.name
        self._completions.asks = self._plan.asks(self._plan.scenario(planned.scenario))

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Set the page cache, and put requests in flight, being answered."""
        self._park(to)
        self._calls.unload((to,))
        label = self._plan.page_cache_of(planned.scenario)
        if self._preset.reads_paths:
            set_page_cache(to, label)
        old = self._served
        assert old is not None
        self._verifier.before_swap(old)
        tokens, seconds = self._conversations.hold(old)
        if tokens:
            self._outcome = replace(self._outcome, prefilled_tokens=tokens, prefill_s=seconds)
        self._clients.start(planned, old)
        if self._preset.reads_paths:
            keep_page_cache(to, label)
            self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """Ask for the other model, or call for the swap, as the preset says.

        Clients ask for the old model until then, and for the new one from then on, as their users would.
        """
        self._fallback, self._served = self._served, None
        self._trigger = None
        probe.begin()
        self._clients.wanted = to  # from here on: none may ask for it before the swap request
        with self._servers.telling(to.name):
            if self._preset.swap.by == "call":
                with probe.whole():
                    document = self._calls.swap(to, self._fallback)
                self._outcome = replace(self._outcome, seen="call", **self._calls.told("call", document))
                if self._calls.note:
                    self._note(self._calls.note)
            else:
                self._swap_by_asking(to, probe)
        self._served = to

    def _swap_by_asking(self, to: Checkpoint, probe: Probe) -> None:
        """The request that makes the server swap: until its first piece of text, or its first byte."""
        asks = self._completions.asks
        with probe.whole(answers=asks):
            self._trigger = answer = self._ask_to_swap(to)
            answer.await_byte()
            if asks:
                answer.await_text()
        assert answer.first_byte_s is not None
        self._outcome = replace(
            self._outcome,
            seen="token" if asks else "byte",
            to_first_byte_s=answer.first_byte_s - answer.sent_s,
        )

    def _ask_to_swap(self, to: Checkpoint) -> Completion:
        return self._completions.start_short(to, self._verifier.question)

    def outcome(self) -> SwapOutcome:
        return replace(
            self._outcome,
            restarts=self._servers.restarts if self._servers.startable else None,
            fresh_footprint_bytes=self._verifier.footprint_bytes(self._watched),
        )

    def first_token(self, probe: Probe) -> None:
        """The request that swapped has brought one already; after a call, one is asked for."""
        assert self._served is not None
        if self._preset.swap.by == "call":
            with self._servers.telling(self._served.name), probe.first_token():
                self._trigger = answer = self._completions.start(self._served, self._verifier.question)
                answer.await_text()

    def steady(self) -> Steady:
        """The same request again, of another beginning so that no cached prompt answers it."""
        assert self._served is not None
        tokens = max(self._plan.experiment.steady_tokens, 1)
        answer = self._completions.whole(self._served, self._completions.prompt(), tokens)
        self._hot_s = None if answer.first_text_s is None else answer.first_text_s - answer.sent_s
        return Steady(self._hot_s, answer.tokens_per_s)

    def verify(self, to: Checkpoint) -> int | None:
        """Tokens can't be seen: texts are compared."""
        return self._verifier.verify(to)

    def restore(self) -> Restored:
        """As far as the server tells; else by how soon it goes on with a conversation that it had."""
        assert self._served is not None
        if self._outcome.restored_caches is not None or not self._plan.experiment.workload.agents:
            return Restored(self._outcome.restored_caches, self._outcome.restored_tokens, None)
        return self._conversations.come_back(self._served, self._hot_s)

    def health(self) -> None:
        """Ask the server's own health check.

        Raises:
            DeafError: it did not answer.
        """
        try:
            endpoint = self._servers.endpoint(self._watched)
            with Exchange(endpoint, "GET", self._preset.health.path, timeout_s=_HEALTH_S) as check:
                check.head()
        except ServerError as error:
            raise DeafError(str(error)) from None

    def roll_back(self) -> Recovery:
        """The old model is asked before anything is mended; then after a swap to it, or away and back; and
        only then of a new server."""
        old = self._fallback
        assert old is not None
        self._give_up_what_flies(_LANDS_AFTER_FAILURE_S)
        self._completions.asks = self._plan.asks_of(old.name)
        self._served = None
        how = self._brought_back(old)
        self._served = old
        return how

    def _brought_back(self, old: Checkpoint) -> Recovery:
        try:
            self._servers.refuse_unsound()
            try:
                with self._servers.telling(old.name):
                    self._completions.greet(old)
                self._verifier.recognise(old)
            except HungError:
                raise
            except (ServerError, MismatchError):
                self._go_away_from(old)
                self._have_served(old, None)
                self._verifier.recognise(old)
                return "swap"
        except (ServerError, MismatchError) as error:
            self._serve_anew(old, error)
            self._verifier.recognise(old)
            return "restart"
        return "itself"

    def _go_away_from(self, model: Checkpoint) -> None:
        """Have another one asked for, where that is what swaps."""
        if self._preset.swap.by == "request":
            away = next(other for other in self._plan.checkpoints.values() if other != model)
            with suppress(ServerError):
                self._completions.greet(away)

    def answer(self) -> None:
        if self._served is None:
            raise RuntimeError("no model is served")
        with self._servers.telling(self._served.name):
            self._completions.greet(self._served)

    def finish(self) -> int:
        """Read the swapping request to its end, and wait for what was in flight: how many were answered."""
        if self._trigger is not None:
            self._hear_out(self._trigger)
        if self._served is not None and self._served.name == self._watched:  # not the old model, back again
            self._outcome = replace(self._outcome, **self._calls.told_when_asked(self._served))
        self._clients.feel_the_new_model()
        self._clients.land(min(_LANDS_WITHIN_S, self._timeout_s))
        outcomes = [landed.outcome for landed in self._clients.landed]
        self._outcome = replace(
            self._outcome,
            failed_requests=outcomes.count("failed"),
            stalled_requests=outcomes.count("stalled"),
        )
        return outcomes.count("answered")

    def _hear_out(self, answer: Completion) -> None:
        """Read the answer that brought the first token, or byte, to its end."""
        try:
            with self._servers.telling(self._watched):
                answer.await_end()
        except HungError:
            # Where nobody is asked for tokens, computing may well be too slow to be waited for.
            if self._completions.asks:
                raise
        finally:
            answer.close()
            self._trigger = None
        self._verifier.said = answer.text
        for event in answer.events:
            self._outcome = replace(self._outcome, **self._calls.told("answer", event))

    def clients(self, begun_s: float) -> tuple[ClientRequest, ...]:
        if self._planned is None:
            return ()
        return self._clients.rows(self._planned, self.meter.clock_origin_ns / 1e9 + begun_s)

    def close(self) -> None:
        self._give_up_what_flies()
        self._servers.stop(gently=True)

    def _note(self, text: str) -> None:
        self._outcome = replace(self._outcome, note=text)

    def _have_served(self, model: Checkpoint, old: Checkpoint | None) -> None:
        """Outside any measurement: swap to a model, and have it answer."""
        with self._servers.telling(model.name):
            if self._preset.swap.by == "call":
                self._calls.swap(model, old)
            self._completions.greet(model)

    def _serve_anew(self, model: Checkpoint, error: ServerError | MismatchError) -> None:
        """By another server of ours, where the one that is there can't, as `error` says."""
        if not self._servers.startable:
            raise error
        self._servers.stop()
        self._servers.ensure_started(model.name)
        self._have_served(model, None)

    def _parked(self, model: Checkpoint) -> bool:
        """Whether a server that has just been started is not the one that serves."""
        return self._servers.per_model and self._served is not None and self._served != model

    def _park(self, to: Checkpoint) -> None:
        """Where each model has a server of its own, the new one's is to be there, asleep, before the swap."""
        if not self._servers.per_model or self._servers.runs(to.name):
            return
        old = self._served
        assert old is not None
        self._calls.swap(to, old, only="old")
        self._servers.ensure_started(to.name)
        self._calls.swap(old, to)

    def _give_up_what_flies(self, timeout_s: float = 0.0) -> None:
        if self._trigger is not None:
            self._trigger.close()
            self._trigger = None
        self._clients.land(timeout_s)

"""A server seen from outside: it is asked to swap, and what a client can see of that is measured."""

import random
import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import Final

from swapbench.instruments import page_cache
from swapbench.wire.events import Checkpoint, ClientRequest, Plan, PlannedSwap, Recovery, Reply
from swapbench.worker.meter import Settled, settle
from swapbench.worker.preparation import keep_page_cache, set_page_cache
from swapbench.worker.probe import Probe
from swapbench.worker.process import DeafError
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets import NOTHING_SEEN, Audit, Outcome, Restored, Steady
from swapbench.worker.targets.http.calls import Caller
from swapbench.worker.targets.http.client import Exchange, HungError, ServerError, StatusError
from swapbench.worker.targets.http.completion import Answer, Question, Voice
from swapbench.worker.targets.http.references import Prompt, Reference, References, prompts
from swapbench.worker.targets.http.servers import Fleet, versions_of
from swapbench.worker.targets.http.workload import Conversations, InFlight, Landed
from swapbench.worker.traffic import Traffic

# Of the experiment's timeout, so that what hangs is told before whoever waits for us loses patience.
_PATIENCE_SHARE: Final = 0.8
# Requests that are still silent so long after the swap are stalled.
_LANDS_WITHIN_S: Final = 60.0
_LANDS_AFTER_FAILURE_S: Final = 2.0
# A prompt that takes longer than that is too long for this machine to verify by.
_VERIFIES_WITHIN_S: Final = 5.0
_GREETING_TOKENS: Final = 8
_GREETING: Final = "Hello, who is answering now?"
# A health check without an answer for so long is asked again: the silence goes on meanwhile.
_HEALTH_S: Final = 10.0
_SENT_AFTERWARDS: Final = 2


class HttpTarget:
    """Serves one model at a time, as far as anybody outside can tell."""

    def __init__(self, plan: Plan) -> None:
        assert plan.server is not None
        self._plan = plan
        self._preset = plan.server.preset
        self._url = plan.server.url
        self._patience_s = plan.swap_timeout_s * _PATIENCE_SHARE
        self._fleet = Fleet(plan)
        self._caller = Caller(self._preset, self._fleet, self._patience_s)
        self.meter = self._fleet.meter
        self._voice = Voice()
        self._references = References(plan.scratch_dir)
        self._serial = random.SystemRandom().randrange(1_000_000)
        self._served: Checkpoint | None = None
        self._fallback: Checkpoint | None = None
        self._planned: PlannedSwap | None = None
        self._asks = True
        self._watched = ""
        self._trigger: Answer | None = None
        self._question = ""
        self._said_before = self._said = ""
        self._flying: tuple[InFlight, ...] = ()
        self._traffic: Traffic[int, InFlight] | None = None
        self._wanted: Checkpoint | None = None
        self._hot_s: float | None = None
        self._conversations = Conversations(plan.workload, self._converse, self._serial)
        self._landed: tuple[Landed, ...] = ()
        self._outcome = NOTHING_SEEN

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions, of the server's own interpreter or as it tells them; and where it is, its process."""
        if self._fleet.startable and self._preset.start is not None:
            start = self._preset.start
            return versions_of(start.command[0], self._preset.packages, start.environment), self._preset.name
        told = self._caller.version()
        process = self._fleet.watch_running()
        whose = f", process {process}" if process else ""
        return {self._preset.name: told} if told else {}, f"{self._preset.name} at {self._url}{whose}"

    def serve(self, checkpoint: Checkpoint) -> None:
        """Have the server answer by `checkpoint`, started where need be."""
        self._outcome = NOTHING_SEEN
        self._fleet.restarts = 0
        self._give_up_what_flies()
        self._landed = ()
        self._refer()
        self._asks = self._plan.asks_of(checkpoint.name)
        if self._fleet.ensure_started(checkpoint.name) and not self._parked(checkpoint):
            self._served = None
        if self._served == checkpoint:
            return
        old, self._served = self._served, None
        if old is None:
            others = [other for other in self._plan.checkpoints.values() if other != checkpoint]
            self._caller.unload(others)
        try:
            self._have_served(checkpoint, old)
        except ServerError as error:
            self._serve_anew(checkpoint, error)
        self._refuse_another(checkpoint)
        if why := self._fleet.forget_forwarder(checkpoint.weight_bytes):
            self._outcome = replace(self._outcome, note=why)
        self._served = checkpoint

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """A server is not known to refuse anything."""
        self._planned, self._watched = planned, to.name
        self._asks = self._plan.asks(self._plan.scenario(planned.scenario))

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Set the page cache, and put requests in flight, being answered."""
        self._park(to)
        self._caller.unload((to,))
        label = self._plan.page_cache_of(planned.scenario)
        if self._preset.reads_paths:
            set_page_cache(to, label)
        scenario, work = self._plan.scenario(planned.scenario), self._plan.workload
        count = work.requests if scenario.requests is None else scenario.requests
        old = self._served
        assert old is not None
        self._question = self._prompt()
        self._said_before, self._said = self._says_before(old), ""
        tokens, seconds = self._conversations.hold(old)
        if tokens:
            self._outcome = replace(self._outcome, prefilled_tokens=tokens, prefill_s=seconds)
        self._flying = tuple(self._send(n, f"in-flight-{n}", old) for n in range(1, count + 1))
        for request in self._flying:
            request.await_text()
        self._start_traffic(planned)
        if self._preset.reads_paths:
            keep_page_cache(to, label)
            self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: Probe) -> None:
        """Ask for the other model, or call for the swap, as the preset says.

        Clients ask for the old model until then, and for the new one from then on, as their users would.
        """
        self._fallback, self._served = self._served, None
        self._wanted = to
        self._trigger = None
        probe.begin()
        with self._fleet.telling(to.name):
            if self._preset.swap.by == "call":
                with probe.whole():
                    document = self._caller.swap(to, self._fallback)
                told = self._caller.told("call", document)
                self._outcome = replace(self._outcome, seen="call", **told)
                if self._caller.note:
                    self._outcome = replace(self._outcome, note=self._caller.note)
            else:
                self._swap_by_asking(to, probe)
        self._served = to

    def outcome(self) -> Outcome:
        """What the last swap did, as far as can be seen."""
        reference = self._references.of(self._watched)
        return replace(
            self._outcome,
            restarts=self._fleet.restarts if self._fleet.startable else None,
            fresh_footprint_bytes=reference.footprint_bytes if reference else None,
        )

    def first_token(self, probe: Probe) -> None:
        """The request that swapped has brought one already; after a call, one is asked for."""
        assert self._served is not None
        if self._preset.swap.by == "call":
            with self._fleet.telling(self._served.name), probe.first_token():
                self._trigger = answer = self._ask(self._served, self._question, _GREETING_TOKENS)
                answer.await_text()

    def steady(self) -> Steady:
        """The same request again, of another beginning so that no cached prompt answers it."""
        assert self._served is not None
        answer = self._answered(self._served, self._prompt(), max(self._plan.steady_tokens, 1))
        self._hot_s = None if answer.first_text_s is None else answer.first_text_s - answer.sent_s
        return Steady(self._hot_s, answer.tokens_per_s)

    def verify(self, to: Checkpoint) -> int | None:
        """Greedy replies, word for word as those of a server that has never swapped, or as the first ones.

        One that differs may come of what the server keeps of the same prompt: of another prompt it keeps
        nothing.

        Raises:
            MismatchError: it says something else, or what another model says.
        """
        self._refuse_stale(to)
        reference = self._references.of(to.name)
        if reference is None or not any(reference.answers.values()):
            return None
        asked = [prompt for prompt in prompts(self._plan.verify.prompt_tokens) if not prompt.spare]
        return sum(self._verified(to, prompt) for prompt in asked if prompt.key() in reference.answers)

    def _says_before(self, old: Checkpoint) -> str:
        """What the old model answers to the very request that is to swap; empty where it isn't asked."""
        if not (self._asks and self._plan.verify.tokens and self._plan.asks_of(old.name)):
            return ""
        return self._answered(old, self._question, _GREETING_TOKENS).text

    def _refuse_stale(self, to: Checkpoint) -> None:
        """A first token of the old model's, while the new one was being loaded, is no swap's.

        Raises:
            MismatchError: the old model has answered the request that swapped.
        """
        if not self._said_before or self._said != self._said_before:
            return
        if self._answered(to, self._question, _GREETING_TOKENS).text != self._said:
            assert self._fallback is not None
            raise MismatchError(
                f"the request that swapped to {to.name} was answered word for word as {self._fallback.name} "
                "answers it: by the wrong model"
            )

    def restore(self) -> Restored:
        """As far as the server tells; else by how soon it goes on with a conversation that it had."""
        assert self._served is not None
        if self._outcome.restored_caches is not None or not self._plan.workload.agents:
            return Restored(self._outcome.restored_caches, self._outcome.restored_tokens, None)
        return self._conversations.come_back(self._served, self._hot_s)

    def replies(self) -> tuple[Reply, ...]:
        """Tokens can't be seen; texts are compared by `verify`."""
        return ()

    def health(self) -> None:
        """Ask the server's own health check.

        Raises:
            DeafError: it did not answer.
        """
        try:
            endpoint = self._fleet.endpoint(self._watched)
            with Exchange(endpoint, "GET", self._preset.health.path, patience_s=_HEALTH_S) as check:
                check.head()
        except ServerError as error:
            raise DeafError(str(error)) from None

    def roll_back(self) -> Recovery:
        """The old model is asked before anything is mended; then after a swap to it, or away and back; and
        only then of a new server."""
        old = self._fallback
        assert old is not None
        self._give_up_what_flies(_LANDS_AFTER_FAILURE_S)
        self._asks = self._plan.asks_of(old.name)
        self._served = None
        how = self._brought_back(old)
        self._served = old
        return how

    def _brought_back(self, old: Checkpoint) -> Recovery:
        try:
            self._fleet.refuse_unsound()
            try:
                with self._fleet.telling(old.name):
                    self._greet(old)
                self._refuse_another(old)
            except HungError:
                raise
            except (ServerError, MismatchError):
                self._go_away_from(old)
                self._have_served(old, None)
                self._refuse_another(old)
                return "swap"
        except (ServerError, MismatchError) as error:
            self._serve_anew(old, error)
            self._refuse_another(old)
            return "restart"
        return "itself"

    def _refuse_another(self, model: Checkpoint) -> None:
        """Who answers is not yet who was asked: a half-loaded model answers, too."""
        if self._asks and self._plan.verify.tokens:
            self._recognise(model)

    def _go_away_from(self, model: Checkpoint) -> None:
        """Have another one asked for, where that is what swaps."""
        if self._preset.swap.by == "request":
            away = next(other for other in self._plan.checkpoints.values() if other != model)
            with suppress(ServerError):
                self._greet(away)

    def answer(self) -> None:
        """A real request."""
        if self._served is None:
            raise RuntimeError("no model is served")
        with self._fleet.telling(self._served.name):
            self._greet(self._served)

    def audit(self) -> Audit:
        """No caches can be seen."""
        return Audit(None, None)

    def finish(self) -> int:
        """Read the swapping request to its end, and wait for what was in flight: how many were answered."""
        if self._trigger is not None:
            self._hear_out(self._trigger)
        if self._served is not None and self._served.name == self._watched:  # not the old model, back again
            self._outcome = replace(self._outcome, **self._caller.told_when_asked(self._served))
        if self._traffic is not None:
            # The swap is over: clients go on for a little, to feel the new model too.
            self._traffic.await_more(_SENT_AFTERWARDS)
        self._land(min(_LANDS_WITHIN_S, self._patience_s))
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
                client=landed.client,
                request=landed.name,
                sent_s=landed.sent_s - zero_s,
                first_token_s=None if landed.first_text_s is None else landed.first_text_s - zero_s,
                answered_s=None if landed.ended_s is None else landed.ended_s - zero_s,
                model=landed.model if landed.outcome == "answered" else "",
                carried=None,
                outcome=landed.outcome,
                longest_gap_s=landed.longest_gap_s,
                error=landed.error,
            )
            for landed in self._landed
        )

    def settle(self) -> Settled:
        """Watch the ledgers of the server."""
        return settle(self.meter)

    def close(self) -> None:
        """Stop the server, if it is ours."""
        self._give_up_what_flies()
        self._fleet.stop(gently=True)

    def _verified(self, to: Checkpoint, prompt: Prompt) -> int:
        answer = self._answered(to, prompt.text(), self._plan.verify.tokens)
        wrong = self._references.mismatch(to.name, prompt, answer.text)
        if wrong is not None:
            other = replace(prompt, spare=True)
            answer = self._answered(to, other.text(), self._plan.verify.tokens)
            if self._references.mismatch(to.name, other, answer.text) is not None:
                raise wrong
            note = f"{wrong}, and another one of that length rightly: what it keeps of prompts answers"
            self._outcome = replace(self._outcome, note=note)
        return len(answer.pieces)

    def _recognise(self, model: Checkpoint) -> None:
        """Whether what was asked for answers, by the shortest prompt; a new one is remembered."""
        reference = self._references.of(model.name)
        if reference is None:
            self._remember(model, Reference(self._answers_of(model)))
        elif any(reference.answers.values()):
            self._verified(model, prompts(self._plan.verify.prompt_tokens)[0])

    def _refer(self) -> None:
        """Have a server that never swapped say what each model says, once a run, and see what it weighs."""
        if not self._fleet.startable or self._fleet.per_model or not self._plan.verify.tokens:
            return
        for model in self._plan.checkpoints.values():
            if self._plan.asks_of(model.name) and self._references.of(model.name) is None:
                self._served = None
                with self._fleet.fresh(model.name):
                    self._greet(model)
                    answers = self._answers_of(model)
                    footprint_bytes = settle(self.meter).ledgers.footprint_bytes
                self._remember(model, Reference(answers, True, footprint_bytes))

    def _answers_of(self, model: Checkpoint) -> dict[str, str]:
        """By prompt, as far as computing is fast enough."""
        answers: dict[str, str] = {}
        for prompt in prompts(self._plan.verify.prompt_tokens):
            try:
                answer = self._answered(
                    model, prompt.text(), self._plan.verify.tokens, _VERIFIES_WITHIN_S if answers else None
                )
            except HungError:
                if not answers:
                    raise
                break
            except StatusError as error:
                if not answers:
                    raise
                note = f"{model.name} is not verified by prompts of {prompt.words} words: {error}"
                self._outcome = replace(self._outcome, note=note)
                break
            answers[prompt.key()] = answer.text
        return answers

    def _remember(self, model: Checkpoint, reference: Reference) -> None:
        if note := self._references.keep(model.name, reference):
            self._outcome = replace(self._outcome, note=note)

    def _swap_by_asking(self, to: Checkpoint, probe: Probe) -> None:
        """The request that makes the server swap: until its first piece of text, or its first byte."""
        with probe.whole(answers=self._asks):
            self._trigger = answer = self._ask_shortly(to, self._question)
            answer.await_byte()
            if self._asks:
                answer.await_text()
        assert answer.first_byte_s is not None
        self._outcome = replace(
            self._outcome,
            seen="token" if self._asks else "byte",
            to_first_byte_s=answer.first_byte_s - answer.sent_s,
        )

    def _hear_out(self, answer: Answer) -> None:
        """Read the answer that brought the first token, or byte, to its end."""
        try:
            with self._fleet.telling(self._watched):
                answer.await_end()
        except HungError:
            # Where nobody is asked for tokens, computing may well be too slow to be waited for.
            if self._asks:
                raise
        finally:
            answer.close()
            self._trigger = None
        self._said = answer.text
        for event in answer.events:
            self._outcome = replace(self._outcome, **self._caller.told("answer", event))

    def _have_served(self, model: Checkpoint, old: Checkpoint | None) -> None:
        """Outside any measurement: swap to a model, and have it answer."""
        with self._fleet.telling(model.name):
            if self._preset.swap.by == "call":
                self._caller.swap(model, old)
            self._greet(model)

    def _serve_anew(self, model: Checkpoint, error: ServerError | MismatchError) -> None:
        """By another server of ours, where the one that is there can't, as `error` says."""
        if not self._fleet.startable:
            raise error
        self._fleet.stop()
        self._fleet.ensure_started(model.name)
        self._have_served(model, None)

    def _parked(self, model: Checkpoint) -> bool:
        """Whether a server that has just been started is not the one that serves."""
        return self._fleet.per_model and self._served is not None and self._served != model

    def _park(self, to: Checkpoint) -> None:
        """Where each model has a server of its own, the new one's is to be there, asleep, before the swap."""
        if not self._fleet.per_model or self._fleet.runs(to.name):
            return
        old = self._served
        assert old is not None
        self._caller.swap(to, old, only="old")
        self._fleet.ensure_started(to.name)
        self._caller.swap(old, to)

    def _ask(
        self,
        model: Checkpoint,
        prompt: str,
        tokens: int,
        patience_s: float | None = None,
        session: str = "swapbench",
    ) -> Answer:
        question = Question(self._fleet.names[model.name], prompt, tokens, session)
        endpoint = self._fleet.endpoint(model.name)
        return Answer(endpoint, self._preset.ask, question, patience_s or self._patience_s, self._voice)

    def _answered(
        self, model: Checkpoint, prompt: str, tokens: int, patience_s: float | None = None
    ) -> Answer:
        """A whole answer."""
        with (
            self._fleet.telling(model.name),
            closing(self._ask(model, prompt, tokens, patience_s)) as answer,
        ):
            answer.await_end()
        return answer

    def _converse(self, model: Checkpoint, said: str, session: str) -> Answer:
        with (
            self._fleet.telling(model.name),
            closing(self._ask(model, said, 1, session=session)) as answer,
        ):
            answer.await_text()
            answer.await_end()
        return answer

    def _ask_shortly(self, model: Checkpoint, prompt: str) -> Answer:
        """A short request; the shortest there is, where computing is so slow that nobody waits for tokens."""
        if self._asks:
            return self._ask(model, prompt, _GREETING_TOKENS)
        return self._ask(model, prompt.partition(" ")[0], 1)

    def _greet(self, model: Checkpoint) -> None:
        """A real request, read to its end: what a server still computes would be in the next swap."""
        with closing(self._ask_shortly(model, self._prompt())) as answer:
            answer.await_end()

    def _prompt(self, count: int = 0) -> str:
        """Another beginning each time: servers keep what they have computed of a prompt."""
        self._serial += 1
        return f"{self._serial % 1_000_000:06d} {Prompt(count).text() if count else _GREETING}"

    def _give_up_what_flies(self, patience_s: float = 0.0) -> None:
        if self._trigger is not None:
            self._trigger.close()
            self._trigger = None
        self._land(patience_s)

    def _land(self, patience_s: float) -> None:
        """Have clients send no more, and wait for what they and others have sent."""
        if self._traffic is not None:
            self._flying += tuple(sent.ticket for sent in self._traffic.stop())
            self._traffic = None
        until_s = time.perf_counter() + patience_s
        self._landed += tuple(request.land(until_s) for request in self._flying)
        self._flying = ()

    def _send(self, client: int, name: str, model: Checkpoint) -> InFlight:
        work = self._plan.workload
        prompt = self._prompt(work.prompt_tokens)
        return InFlight(client, name, model.name, lambda: self._ask(model, prompt, work.decode_tokens))

    def _start_traffic(self, planned: PlannedSwap) -> None:
        """Have clients send, and wait until one of them is being answered."""
        work = self._plan.workload
        if not work.clients:
            return
        assert self._served is not None
        self._wanted = self._served
        self._traffic = Traffic(
            self._send_of_client, lambda number: number, work.clients, work.rate_per_s, seed=planned.round
        )
        self._traffic.start()
        self._traffic.await_more(1)
        self._traffic.sent()[0].ticket.await_text()

    def _send_of_client(self, number: int) -> InFlight:
        assert self._wanted is not None
        client = number % self._plan.workload.clients + 1
        return self._send(client, f"client-{client}/{number}", self._wanted)

    def _look_at_page_cache(self, to: Checkpoint) -> None:
        share = page_cache.residency(page_cache.weight_files(to.path)).share
        self._outcome = replace(self._outcome, resident_before=share)

"""A server seen from outside: it is asked to swap, and what a client can see of that is measured."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

import psutil

from swapbench.spec.experiment import FaultKind, InjectedFault
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import ClientRequest, PlannedSwap, Recovery, Restored, Steady, SwapOutcome
from swapbench.worker.meter import TreeMeter
from swapbench.worker.preparation import DAMAGES, FULL_DISK_BYTES, damaged, keep_page_cache, set_page_cache
from swapbench.worker.probe import SwapProbe
from swapbench.worker.process import DeafError
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets import Target
from swapbench.worker.targets.http import Exchange, HungError, ServerError
from swapbench.worker.targets.http.completion import Completion, WrongModelError
from swapbench.worker.targets.http.process import versions_of
from swapbench.worker.targets.http.references import Verifier
from swapbench.worker.targets.http.servers import Calls, Servers
from swapbench.worker.targets.http.workload import Clients, Conversations

# Requests that clients still send once the new model has shown its first token.
_SENT_AFTERWARDS: Final = 2
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
        self._servers = Servers(plan)
        self.meter: TreeMeter = self._servers.meter
        self._calls = Calls(self._servers)
        self._verifier = Verifier(plan, self._servers, note=lambda text: self._tell(note=text))
        self._clients = Clients(plan, self._servers)
        self._conversations = Conversations(plan.experiment.workload, self._servers)
        # The model that is swapped to, which is the one whose health is asked for.
        self._watched = ""
        self._trigger: Completion | None = None
        self._hot_s: float | None = None

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
        self._servers.asks = self._plan.asks_of(checkpoint.name)
        # Where each model has a server of its own, another one may go on serving.
        parked = self._servers.per_model and self._served != checkpoint
        if self._servers.ensure_started(checkpoint.name) and not parked:
            self._served = None
        if self._served == checkpoint:
            return
        old, self._served = self._served, None
        if old is None:
            self._calls.unload([other for other in self._plan.checkpoints.values() if other != checkpoint])
        try:
            self._have_served(checkpoint, old)
        except ServerError as error:
            self._serve_anew(checkpoint, error)
        self._verifier.recognise(checkpoint)
        if why := self._servers.forget_forwarder(checkpoint.weight_bytes):
            self._tell(note=why)
        self._served = checkpoint

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        self._watched = to.name
        self._servers.asks = self._plan.asks(self._plan.scenario(planned.scenario))

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Set the page cache, and put requests in flight, being answered."""
        old = self.served
        if self._servers.per_model and not self._servers.runs(to.name):
            # The new model's own server is to be there, asleep, before the swap.
            self._calls.swap(to, old, only="old")
            self._servers.ensure_started(to.name)
            self._calls.swap(old, to)
        self._calls.unload((to,))
        label = self._plan.page_cache_of(planned.scenario)
        if self._preset.reads_paths:
            set_page_cache(to, label)
        self._verifier.before_swap(old)
        tokens, seconds = self._conversations.hold(old)
        if tokens:
            self._tell(prefilled_tokens=tokens, prefill_s=seconds)
        self._clients.start(planned, old)
        if self._preset.reads_paths:
            keep_page_cache(to, label)
            self._look_at_page_cache(to)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """Ask for the other model, until its first piece of text or its first byte; or call for the swap.

        Clients ask for the old model until then, and for the new one from then on, as their users would.
        """
        old, self._served = self._served, None
        self._trigger = None
        asks = self._servers.asks
        probe.begin()
        self._clients.wanted = to  # from here on: none may ask for it before the swap request
        with self._servers.telling(to.name):
            if self._preset.swap.by == "call":
                with probe.whole():
                    document = self._calls.swap(to, old)
                self._tell(seen="call", **self._calls.told("call", document))
                if self._calls.note:
                    self._tell(note=self._calls.note)
            else:
                with probe.whole(answers=asks):
                    self._trigger = answer = self._ask_to_swap(to)
                    answer.await_byte()
                    if asks:
                        answer.await_text()
                assert answer.first_byte_s is not None
                to_first_byte_s = answer.first_byte_s - answer.sent_s
                self._tell(seen="token" if asks else "byte", to_first_byte_s=to_first_byte_s)
        self._served = to

    def _ask_to_swap(self, to: Checkpoint) -> Completion:
        return self._servers.start_short(to, self._verifier.question)

    def outcome(self) -> SwapOutcome:
        return replace(
            self._outcome,
            restarts=self._servers.restarts if self._servers.startable else None,
            fresh_footprint_bytes=self._verifier.footprint_bytes(self._watched),
        )

    def first_token(self, probe: SwapProbe) -> None:
        """The request that swapped has brought one already; after a call, one is asked for."""
        if self._preset.swap.by == "call":
            with self._servers.telling(self.served.name), probe.first_token():
                self._trigger = answer = self._servers.start(self.served, self._verifier.question)
                answer.await_text()

    def steady(self) -> Steady:
        """The same request again, of another beginning so that no cached prompt answers it."""
        tokens = max(self._plan.experiment.steady_tokens, 1)
        answer = self._servers.whole(self.served, self._servers.prompt(), tokens)
        self._hot_s = None if answer.first_text_s is None else answer.first_text_s - answer.sent_s
        return Steady(self._hot_s, answer.tokens_per_s)

    def verify(self, to: Checkpoint) -> int | None:
        """Tokens can't be seen: texts are compared."""
        return self._verifier.verify(to)

    def restore(self) -> Restored:
        """As far as the server tells; else by how soon it goes on with a conversation that it had."""
        told = self._outcome
        if told.restored_caches is not None or not self._plan.experiment.workload.agents:
            return Restored(told.restored_caches, told.restored_tokens, None)
        return self._conversations.come_back(self.served, self._hot_s)

    def health(self) -> None:
        """Ask the server's own health check; a DeafError if it does not answer."""
        try:
            endpoint = self._servers.endpoint(self._watched)
            with Exchange(endpoint, "GET", self._preset.health.path, timeout_s=_HEALTH_S) as check:
                check.head()
        except ServerError as error:
            raise DeafError(str(error)) from None

    def roll_back(self, old: Checkpoint) -> Recovery:
        """The old model is asked before anything is mended; then after a swap to it, or away and back; and
        only then of a new server."""
        how: Recovery = "itself"
        self._give_up_what_flies(_LANDS_AFTER_FAILURE_S)
        self._servers.asks = self._plan.asks_of(old.name)
        self._served = None
        try:
            self._servers.refuse_unsound()
            try:
                with self._servers.telling(old.name):
                    self._servers.greet(old)
                self._verifier.recognise(old)
            except HungError:
                raise
            except (ServerError, MismatchError):
                if self._preset.swap.by == "request":
                    away = next(other for other in self._plan.checkpoints.values() if other != old)
                    with suppress(ServerError):
                        self._servers.greet(away)
                self._have_served(old, None)
                self._verifier.recognise(old)
                how = "swap"
        except (ServerError, MismatchError) as error:
            self._serve_anew(old, error)
            self._verifier.recognise(old)
            how = "restart"
        self._served = old
        return how

    def answer(self) -> None:
        with self._servers.telling(self.served.name):
            self._servers.greet(self.served)

    def finish(self) -> int:
        """Read the swapping request to its end, and wait for what was in flight: how many were answered."""
        if (answer := self._trigger) is not None:
            try:
                with self._servers.telling(self._watched):
                    answer.await_end()
            except HungError:
                # Where nobody is asked for tokens, computing may well be too slow to be waited for.
                if self._servers.asks:
                    raise
            finally:
                answer.close()
                self._trigger = None
            self._verifier.said = answer.text
            for event in answer.events:
                self._tell(**self._calls.told("answer", event))
        if self._served is not None and self._served.name == self._watched:  # not the old model, back again
            self._tell(**self._calls.told_when_asked(self._served))
        self._clients.land(min(_LANDS_WITHIN_S, self._servers.timeout_s), more=_SENT_AFTERWARDS)
        outcomes = [request.outcome for request in self._clients.landed]
        self._tell(failed_requests=outcomes.count("failed"), stalled_requests=outcomes.count("stalled"))
        return outcomes.count("answered")

    def clients(self, planned: PlannedSwap, begun_s: float) -> tuple[ClientRequest, ...]:
        zero_s = self.meter.clock_origin_ns / 1e9 + begun_s
        return tuple(request.row(planned, zero_s) for request in self._clients.landed)

    def close(self) -> None:
        self._give_up_what_flies()
        self._servers.stop(gently=True)

    def _have_served(self, model: Checkpoint, old: Checkpoint | None) -> None:
        """Outside any measurement: swap to a model, and have it answer."""
        with self._servers.telling(model.name):
            if self._preset.swap.by == "call":
                self._calls.swap(model, old)
            self._servers.greet(model)

    def _serve_anew(self, model: Checkpoint, error: ServerError | MismatchError) -> None:
        """By another server of ours, where the one that is there can't, as `error` says."""
        if not self._servers.startable:
            raise error
        self._servers.stop()
        self._servers.ensure_started(model.name)
        self._have_served(model, None)

    def _give_up_what_flies(self, timeout_s: float = 0.0) -> None:
        if self._trigger is not None:
            self._trigger.close()
            self._trigger = None
        self._clients.land(timeout_s)


_NO_MODEL: Final = "swapbench/there-is-no-such-model"
# From the request on: within any load, and after whatever a server does before it begins to.
_STRIKES_AFTER_S: Final = 0.1


class FaultyHttpTarget(HttpTarget):
    """A server, with the plan's faults injected from outside in the swaps that they are meant for."""

    _fault: InjectedFault | None = None
    _gone = False

    def serve(self, checkpoint: Checkpoint) -> None:
        self._fault = None
        super().serve(checkpoint)

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        super().check(to, planned)
        self._fault = self._plan.experiment.fault_in(planned.scenario, planned.round)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        kind = self._fault.kind if self._fault is not None else None
        self._fault = None
        self._gone = kind is FaultKind.CLIENT_GONE
        if kind is FaultKind.MISSING_MODEL or (kind is not None and kind in DAMAGES):
            self._swap_to_another_name(to, kind, probe)
        elif kind is FaultKind.KILL:
            timer = threading.Timer(_STRIKES_AFTER_S, self._kill_youngest)
            timer.start()
            try:
                super().swap(to, probe)
            finally:
                timer.join()
        elif kind is FaultKind.DISK_FULL:
            with _full_disk(self._servers.processes()):
                super().swap(to, probe)
        else:
            super().swap(to, probe)

    def _ask_to_swap(self, to: Checkpoint) -> Completion:
        answer = super()._ask_to_swap(to)
        if self._gone:
            self._gone = False
            threading.Event().wait(_STRIKES_AFTER_S)
            answer.close()
            raise ServerError("the client went away in the middle of the swap, as the experiment wants")
        return answer

    def _swap_to_another_name(self, to: Checkpoint, kind: FaultKind, probe: SwapProbe) -> None:
        """Call the model by a name that stands for nothing, or for a damaged copy."""
        names = self._servers.names
        right = names[to.name]
        copy = damaged(to, kind, self._plan.scratch_dir)
        names[to.name] = _NO_MODEL if copy is to else str(copy.path.absolute())
        try:
            super().swap(to, probe)
        finally:
            names[to.name] = right
        name = "a model that is not there" if copy is to else "a damaged model"
        raise WrongModelError(f"asked for {name}, and another one answers, as if it were that")

    def _kill_youngest(self) -> None:
        """By SIGKILL: whoever was started last is who loads, in servers of several processes."""
        found = sorted(self._servers.processes(), key=lambda process: process.create_time())
        with suppress(psutil.Error, IndexError):
            found[-1].kill()


@contextmanager
def _full_disk(processes: list[psutil.Process]) -> Iterator[None]:
    """No file of these processes may grow any further: writing fails, as when a disk is full."""
    if sys.platform != "linux":
        raise OSError("limits of other processes can be set on Linux only")
    before = {}
    for process in processes:
        with suppress(psutil.Error):  # it has ended since
            before[process] = limits = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (FULL_DISK_BYTES, limits[1]))
    try:
        yield
    finally:
        for process, limits in before.items():
            with suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_FSIZE, limits)

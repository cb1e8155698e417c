"""The workload of a swap as servers see it: requests in flight, clients that go on sending, conversations."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final, Literal

from swapbench.spec.experiment import Workload
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import ClientRequest, PlannedSwap, Restored
from swapbench.worker.engine.requests import Traffic, text
from swapbench.worker.targets.http import HungError, ServerError
from swapbench.worker.targets.http.completion import Completion, SilentError
from swapbench.worker.targets.http.servers import Servers

# Every prompt has a beginning of its own: what follows may be alike.
_SEED: Final = 0
# A conversation that is answered in less than that share of what it took at first was not computed again.
_KEPT_SHARE: Final = 0.5
# Of a short question's time: below that, computing the long one can't be told from answering at all.
_TELLS_FROM: Final = 2.0


class InFlight:
    """One request of a client (from 1): sent by `ask`, and read to its end."""

    def __init__(self, client: int, name: str, model: str, ask: Callable[[], Completion]) -> None:
        self._client = client
        self._name = name
        self._model = model
        self._ask = ask
        self._answer: Completion | None = None
        self._error = ""
        self._silent_s = 0.0
        self._hung = self._cut_off = False
        self._spoken = threading.Event()
        self._landed = threading.Event()
        self.outcome: Literal["answered", "failed", "stalled"] = "answered"
        self._sent_s = time.perf_counter()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def await_text(self) -> None:
        """Wait until it is being answered, or has failed: some servers break off one for the next."""
        self._spoken.wait()

    def land(self, until_s: float) -> None:
        """Wait for its end, at most until then (perf_counter); one that has not ended by then is stalled."""
        self._thread.join(max(0.0, until_s - time.perf_counter()))
        answer, self._cut_off = self._answer, self._thread.is_alive()
        if self._cut_off or self._hung:
            self.outcome = "stalled"
            self._silent_s = time.perf_counter() - (answer.heard_s if answer else self._sent_s)
        elif self._error:
            self.outcome = "failed"
        self._landed.set()
        if self._cut_off and answer is not None:
            answer.give_up()
            self._thread.join()

    def row(self, planned: PlannedSwap, zero_s: float) -> ClientRequest:
        """What its client saw; `zero_s` is when the swap was asked for, as perf_counter has it."""
        answer, answered = self._answer, self.outcome == "answered"
        first_s, ended_s = (answer.first_text_s, answer.ended_s) if answer else (None, None)
        return ClientRequest(
            swap=planned,
            client=self._client,
            request=self._name,
            sent_s=self._sent_s - zero_s,
            first_token_s=None if first_s is None else first_s - zero_s,
            answered_s=None if ended_s is None or not answered else ended_s - zero_s,
            model=self._model if answered else "",
            carried=None,
            outcome=self.outcome,
            longest_gap_s=max(answer.longest_gap_s if answer else 0.0, self._silent_s),
            error="" if self._cut_off else self._error,
        )

    def _read(self) -> None:
        try:
            self._answer = answer = self._ask()
            if self._landed.is_set():  # nobody waits for it any more
                answer.give_up()
            try:
                with suppress(SilentError):  # it may have nothing to say, and have said so
                    answer.await_text()
                self._spoken.set()
                answer.await_end()
            finally:
                answer.close()
        except ServerError as error:
            self._hung = isinstance(error, HungError)
            self._error = str(error)
        except Exception as error:  # noqa: BLE001 - the thread's border: what fails is not answered
            self._error = f"{type(error).__name__}: {error}"
        finally:
            self._spoken.set()


class Clients:
    """The requests in flight when a swap begins, and clients that go on sending through it."""

    def __init__(self, plan: Plan, servers: Servers) -> None:
        self._plan = plan
        self._servers = servers
        self._flying: tuple[InFlight, ...] = ()
        self._traffic: Traffic[int, InFlight] | None = None
        # What clients that go on sending ask for.
        self.wanted: Checkpoint | None = None
        self.landed: tuple[InFlight, ...] = ()

    def start(self, planned: PlannedSwap, served: Checkpoint) -> None:
        """Put requests in flight, and have clients send; returns once they are being answered."""
        scenario, work = self._plan.scenario(planned.scenario), self._plan.experiment.workload
        count = work.requests if scenario.requests is None else scenario.requests
        self._flying = tuple(self._send(n, f"in-flight-{n}", served) for n in range(1, count + 1))
        for request in self._flying:
            request.await_text()
        if not work.clients:
            return
        self.wanted = served

        def send(number: int) -> InFlight:
            assert self.wanted is not None
            client = number % work.clients + 1
            return self._send(client, f"client-{client}/{number}", self.wanted)

        self._traffic = traffic = Traffic(send, int, work.clients, work.rate_per_s, planned.round)
        traffic.start()
        traffic.await_more(1)
        traffic.sent()[0].ticket.await_text()

    def land(self, timeout_s: float, more: int = 0) -> None:
        """Have clients send no more but so many, and wait for what they and others have sent."""
        if self._traffic is not None:
            if more:
                self._traffic.await_more(more)
            self._flying += tuple(sent.ticket for sent in self._traffic.stop())
            self._traffic = None
        until_s = time.perf_counter() + timeout_s
        for request in self._flying:
            request.land(until_s)
        self.landed += self._flying
        self._flying = ()

    def _send(self, client: int, name: str, model: Checkpoint) -> InFlight:
        work = self._plan.experiment.workload
        prompt = self._servers.prompt(text(work.prompt_tokens, _SEED))
        return InFlight(
            client, name, model.name, lambda: self._servers.start(model, prompt, work.decode_tokens)
        )


class Conversations:
    """What each agent has said to each model, and how long its first token took when that was new."""

    def __init__(self, workload: Workload, servers: Servers) -> None:
        self._workload = workload
        self._servers = servers
        self._serial = random.SystemRandom().randrange(1_000_000)
        self._new_s: dict[tuple[str, int], float] = {}

    def hold(self, model: Checkpoint) -> tuple[int, float | None]:
        """Have the served model compute what it has not yet of the agents' conversations; tokens, as far
        as words are tokens, and seconds."""
        new = [n for n in range(self._workload.agents) if (model.name, n) not in self._new_s]
        begun_s = time.perf_counter()
        for number in new:
            self._new_s[model.name, number] = self._first_token_s(model, number)
        if not new:
            return 0, None
        return len(new) * self._workload.cache_tokens, time.perf_counter() - begun_s

    def come_back(self, model: Checkpoint, short_s: float | None) -> Restored:
        """Continue the conversations that the model knew: which of them it did not have to compute again.
        `short_s` is its first token of a short question."""
        known = [number for name, number in self._new_s if name == model.name]
        if not known or short_s is None:
            return Restored(0, 0, None) if not known else Restored(None, None, None)
        begun_s = time.perf_counter()
        kept, told = 0, False
        for number in known:
            new_s, again_s = self._new_s[model.name, number], self._first_token_s(model, number)
            told = told or new_s >= _TELLS_FROM * short_s
            kept += again_s < _KEPT_SHARE * new_s
        seconds = time.perf_counter() - begun_s
        if not told:
            return Restored(None, None, None, seconds)
        return Restored(kept, kept * self._workload.cache_tokens, None, seconds)

    def _first_token_s(self, model: Checkpoint, number: int) -> float:
        agent = f"agent-{number + 1}"
        said = f"{self._serial:06d} {agent}, {model.name}: {text(self._workload.cache_tokens, _SEED)}"
        with (
            self._servers.telling(model.name),
            closing(self._servers.start(model, said, 1, session=agent)) as answer,
        ):
            answer.await_text()
            answer.await_end()
        assert answer.first_text_s is not None
        return answer.first_text_s - answer.sent_s

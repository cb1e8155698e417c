"""The workload of a swap as servers see it: requests in flight, clients that go on sending, conversations."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from swapbench.spec.experiment import Workload
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.wire.swap import ClientRequest, PlannedSwap, Restored
from swapbench.worker.engine.requests import Traffic
from swapbench.worker.targets.http.client import HungError, ServerError
from swapbench.worker.targets.http.completion import Completion, SilentError
from swapbench.worker.targets.http.references import Prompt
from swapbench.worker.targets.http.servers import Completions


@dataclass(frozen=True)
class Landed:
    """A request, and what its client saw. Times are perf_counter's."""

    client: int
    name: str
    model: str
    sent_s: float
    first_text_s: float | None
    ended_s: float | None
    longest_gap_s: float
    outcome: Literal["answered", "failed", "stalled"]
    error: str


class InFlight:
    """One request, asked and read to its end.

    Args:
        client: whose it is, from 1.
        ask: sends it.
    """

    def __init__(self, client: int, name: str, model: str, ask: Callable[[], Completion]) -> None:
        self._client = client
        self._name = name
        self._model = model
        self._ask = ask
        self._answer: Completion | None = None
        self._error = ""
        self._hung = False
        self._spoken = threading.Event()
        self._landed = threading.Event()
        self._sent_s = time.perf_counter()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def await_text(self) -> None:
        """Wait until it is being answered.

        One that is not has failed, as may be: some servers break off what they are at for the next request.
        """
        self._spoken.wait()

    def land(self, until_s: float) -> Landed:
        """Wait for its end, at most until then (perf_counter); one that has not ended by then is stalled."""
        self._thread.join(max(0.0, until_s - time.perf_counter()))
        answer = self._answer
        reading = self._thread.is_alive()
        stalled = reading or self._hung
        silent_s = 0.0
        if stalled:
            silent_s = time.perf_counter() - (answer.heard_s if answer else self._sent_s)
        self._landed.set()
        if reading and answer is not None:
            answer.give_up()
            self._thread.join()
        return Landed(
            client=self._client,
            name=self._name,
            model=self._model,
            sent_s=self._sent_s,
            first_text_s=answer.first_text_s if answer else None,
            ended_s=None if stalled or self._error or answer is None else answer.ended_s,
            longest_gap_s=max(answer.longest_gap_s if answer else 0.0, silent_s),
            outcome="stalled" if stalled else "failed" if self._error else "answered",
            error="" if reading else self._error,
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

    def __init__(self, plan: Plan, completions: Completions) -> None:
        self._plan = plan
        self._completions = completions
        self._flying: tuple[InFlight, ...] = ()
        self._traffic: Traffic[int, InFlight] | None = None
        # What clients that go on sending ask for.
        self.wanted: Checkpoint | None = None
        self.landed: tuple[Landed, ...] = ()

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
        self._traffic = Traffic(
            self._send_of_client, lambda number: number, work.clients, work.rate_per_s, seed=planned.round
        )
        self._traffic.start()
        self._traffic.await_more(1)
        self._traffic.sent()[0].ticket.await_text()

    def feel_the_new_model(self) -> None:
        """Clients go on for a little after the swap is over."""
        if self._traffic is not None:
            self._traffic.await_more(_SENT_AFTERWARDS)

    def land(self, timeout_s: float) -> None:
        """Have clients send no more, and wait for what they and others have sent."""
        if self._traffic is not None:
            self._flying += tuple(sent.ticket for sent in self._traffic.stop())
            self._traffic = None
        until_s = time.perf_counter() + timeout_s
        self.landed += tuple(request.land(until_s) for request in self._flying)
        self._flying = ()

    def rows(self, planned: PlannedSwap, zero_s: float) -> tuple[ClientRequest, ...]:
        """What became of every request; `zero_s` is when the swap was asked for, as perf_counter has it."""
        return tuple(
            ClientRequest(
                swap=planned,
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
            for landed in self.landed
        )

    def _send(self, client: int, name: str, model: Checkpoint) -> InFlight:
        work = self._plan.experiment.workload
        prompt = self._completions.prompt(Prompt(work.prompt_tokens).text())
        ask = partial(self._completions.start, model, prompt, work.decode_tokens)
        return InFlight(client, name, model.name, ask)

    def _send_of_client(self, number: int) -> InFlight:
        assert self.wanted is not None
        client = number % self._plan.experiment.workload.clients + 1
        return self._send(client, f"client-{client}/{number}", self.wanted)


# Requests that clients still send once the new model has shown its first token.
_SENT_AFTERWARDS: Final = 2
# A conversation that is answered in less than that share of what it took at first was not computed again.
_KEPT_SHARE: Final = 0.5
# Of a short question's time: below that, computing the long one can't be told from answering at all.
_TELLS_FROM: Final = 2.0


@dataclass
class Conversations:
    """What each agent has said to each model, and how long its first token took when that was new."""

    workload: Workload
    completions: Completions
    serial: int = field(default_factory=partial(random.SystemRandom().randrange, 1_000_000))
    _new_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def hold(self, model: Checkpoint) -> tuple[int, float | None]:
        """Have every agent's conversation computed by the model that serves, where it has not been yet.

        Returns:
            Tokens, as far as words are tokens, and seconds.
        """
        new = [n for n in range(self.workload.agents) if (model.name, n) not in self._new_s]
        begun_s = time.perf_counter()
        for number in new:
            self._new_s[model.name, number] = self._first_token_s(model, number)
        if not new:
            return 0, None
        return len(new) * self.workload.cache_tokens, time.perf_counter() - begun_s

    def come_back(self, model: Checkpoint, short_s: float | None) -> Restored:
        """Continue the conversations that the model knew: which of them it did not have to compute again.

        Args:
            short_s: its first token of a short question.
        """
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
        return Restored(kept, kept * self.workload.cache_tokens, None, seconds)

    def _first_token_s(self, model: Checkpoint, number: int) -> float:
        agent = f"agent-{number + 1}"
        said = f"{self.serial:06d} {agent}, {model.name}: {Prompt(self.workload.cache_tokens).text()}"
        answer = self.completions.whole(model, said, 1, session=agent, spoken=True)
        assert answer.first_text_s is not None
        return answer.first_text_s - answer.sent_s

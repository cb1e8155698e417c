"""Requests of clients, each on a thread of its own: what becomes of them."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from swapbench.spec.experiment import Workload
from swapbench.wire.events import Checkpoint
from swapbench.worker.targets import Restored
from swapbench.worker.targets.http.client import HungError, ServerError
from swapbench.worker.targets.http.completion import Answer, SilentError
from swapbench.worker.targets.http.references import Prompt


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

    def __init__(self, client: int, name: str, model: str, ask: Callable[[], Answer]) -> None:
        self._client = client
        self._name = name
        self._model = model
        self._ask = ask
        self._answer: Answer | None = None
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


# A conversation that is answered in less than that share of what it took at first was not computed again.
_KEPT_SHARE: Final = 0.5
# Of a short question's time: below that, computing the long one can't be told from answering at all.
_TELLS_FROM: Final = 2.0


@dataclass
class Conversations:
    """What each agent has said to each model, and how long its first token took when that was new.

    `ask` sends a prompt of a session, and has at most so many tokens answered.
    """

    workload: Workload
    ask: Callable[[Checkpoint, str, str], Answer]
    serial: int
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
        """Go on with those that the model knew: which of them it did not have to compute again.

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
        answer = self.ask(model, said, agent)
        assert answer.first_text_s is not None
        return answer.first_text_s - answer.sent_s

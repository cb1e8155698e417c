"""Requests in flight on the old model when the swap is asked for: what becomes of each."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

from swapbench.worker.targets.http.asking import Answer
from swapbench.worker.targets.http.speaking import HungError, ServerError


@dataclass(frozen=True)
class Landed:
    """A request, and what its client saw. Times are perf_counter's."""

    name: str
    model: str
    sent_s: float
    first_text_s: float | None
    ended_s: float | None
    longest_gap_s: float
    outcome: Literal["answered", "failed", "stalled"]
    error: str


class InFlight:
    """One request that is read on a thread of its own, from its first piece of text on."""

    def __init__(self, name: str, model: str, answer: Answer) -> None:
        self._name = name
        self._model = model
        self._answer = answer
        self._error = ""
        self._hung = False
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)

    def start(self) -> None:
        """Wait until it is being answered, then go on reading.

        One that is not has failed, as may be: some servers break off what they are at for the next request.
        """
        try:
            self._answer.await_text()
        except ServerError as error:
            self._error = str(error)
            self._answer.close()
        else:
            self._thread.start()

    def land(self, until_s: float) -> Landed:
        """Wait for its end, at most until then (perf_counter); one that has not ended by then is stalled."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until_s - time.perf_counter()))
        reading = self._thread.is_alive()
        stalled = reading or self._hung
        silent_s = time.perf_counter() - self._answer.heard_s if stalled else 0.0
        if reading:
            self._answer.give_up()
            self._thread.join()
        answer = self._answer
        return Landed(
            name=self._name,
            model=self._model,
            sent_s=answer.sent_s,
            first_text_s=answer.first_text_s,
            ended_s=None if stalled or self._error else answer.ended_s,
            longest_gap_s=max(answer.longest_gap_s, silent_s),
            outcome="stalled" if stalled else "failed" if self._error else "answered",
            error="" if reading else self._error,
        )

    def _read(self) -> None:
        try:
            self._answer.await_end()
        except ServerError as error:
            self._hung = isinstance(error, HungError)
            self._error = str(error)
        finally:
            self._answer.close()

"""Asking a model for text, token by token, in whichever protocol the preset says."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from swapbench.preset import Ask
from swapbench.worker.targets.http.speaking import (
    Endpoint,
    Exchange,
    ServerError,
    StatusError,
    dig,
    lines_of,
    sse_events,
)

# Some servers stream more pieces than tokens, or a few tokens over; none this many.
_PIECES_PER_TOKEN: Final = 4
_PIECES_BESIDE: Final = 64

_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")


class WrongModelError(ServerError):
    """Another model answers than was asked."""


@dataclass(frozen=True)
class Question:
    """What is asked of which model, by the server's name for it."""

    model: str
    prompt: str
    max_tokens: int


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled; a text that is one placeholder alone becomes its value."""
    if isinstance(template, str):
        whole = _PLACEHOLDER.fullmatch(template)
        if whole and whole[1] in values:
            return values[whole[1]]
        return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), template)
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in template]
    return template


class Answer:
    """A model's answer while it comes. Times are perf_counter's; None where it never got that far."""

    def __init__(self, endpoint: Endpoint, ask: Ask, question: Question, patience_s: float) -> None:
        """Send the question.

        Raises:
            ServerError: nobody listens there.
        """
        self._ask = ask
        self._question = question
        self._clean = endpoint.shown
        values = {"model": question.model, "prompt": question.prompt, "max_tokens": question.max_tokens}
        self.exchange = Exchange(endpoint, "POST", ask.path, filled(ask.body, values), patience_s=patience_s)
        self._events: Iterator[Any] | None = None
        self.sent_s = self.exchange.sent_s
        self.first_byte_s: float | None = None
        self.first_text_s: float | None = None
        self.ended_s: float | None = None
        self.longest_gap_s = 0.0
        self.heard_s = self.sent_s
        self.pieces: list[str] = []
        self.events: list[Any] = []

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "".join(self.pieces)

    @property
    def tokens_per_s(self) -> float | None:
        """Pieces of text after the first, by the time that they took."""
        if self.first_text_s is None or self.ended_s is None or len(self.pieces) < 2:
            return None
        taken_s = self.heard_s - self.first_text_s
        return (len(self.pieces) - 1) / taken_s if taken_s > 0 else None

    def await_byte(self) -> None:
        """Wait for the answer to begin, whatever it says.

        Raises:
            ServerError: it does not.
        """
        self.exchange.expect(200)
        if self.first_byte_s is None:
            self.first_byte_s = time.perf_counter()

    def await_text(self) -> None:
        """Wait for the first piece of text. Role-only and empty pieces are none.

        Raises:
            ServerError: none comes.
        """
        while not self.pieces:
            if not self._next():
                raise self.exchange.garbled("answered without any text")

    def await_end(self) -> None:
        """Read the rest.

        Raises:
            ServerError: it breaks off, or does not end.
        """
        while self.ended_s is None and self._next():
            pass

    def close(self) -> None:
        """Give up."""
        self.exchange.close()

    def _next(self) -> bool:
        """One more event; whether there was one."""
        self.await_byte()
        if self._events is None:
            self._events = self._read()
        event = next(self._events, None)
        now_s = time.perf_counter()
        self.longest_gap_s = max(self.longest_gap_s, now_s - self.heard_s)
        if event is None:
            self.ended_s = now_s
            return False
        self.heard_s = now_s
        self._take(event, now_s)
        return True

    def _take(self, event: Any, now_s: float) -> None:
        ask, exchange = self._ask, self.exchange
        error = next((found for where in ask.error if (found := dig(event, where))), None)
        if error is not None:
            raise StatusError(f"POST {ask.path}: answered an error: {self._clean(str(error))}")
        named = dig(event, ask.model) if ask.model else None
        if isinstance(named, str) and named and not _same_model(named, self._question.model):
            raise WrongModelError(
                f"asked for {self._question.model}, and {self._clean(named)} answers: the wrong model"
            )
        text = next((found for where in ask.text if (found := dig(event, where))), "")
        if isinstance(text, str) and text:
            if self.first_text_s is None:
                self.first_text_s = now_s
            self.pieces.append(text)
        self.events.append(event)
        if len(self.events) > _PIECES_PER_TOKEN * self._question.max_tokens + _PIECES_BESIDE:
            raise exchange.garbled(
                f"streams on and on: {len(self.events)} pieces for {self._question.max_tokens} tokens"
            )

    def _read(self) -> Iterator[Any]:
        ask, exchange = self._ask, self.exchange
        kind = exchange.head().headers.get_content_type()
        if ask.stream == "sse" and kind != "text/event-stream":
            raise exchange.garbled(f"answered {self._clean(kind)}, not the event stream that was asked for")
        lines = sse_events(exchange.chunks()) if ask.stream == "sse" else lines_of(exchange.chunks())
        told_end = not (ask.end if ask.stream == "sse" else ask.done)
        for line in lines:
            if ask.stream == "sse" and ask.end and line.strip() == ask.end:
                return
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                raise exchange.garbled(f"said what is no JSON: {self._clean(line)}") from None
            yield event
            if ask.done and dig(event, ask.done):
                return
        if not told_end:
            raise exchange.garbled("closed its answer before the end")


def _same_model(named: str, asked: str) -> bool:
    return named == asked or named == f"{asked}:latest" or f"{named}:latest" == asked

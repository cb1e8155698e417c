"""Asking a model for text, token by token, in whichever protocol the preset says."""

import json
import math
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from swapbench.spec.preset import PLACEHOLDER, Ask
from swapbench.worker.targets.http.dialect import Voice, error_of, finish_of, reasons, text_of
from swapbench.worker.targets.http.speaking import (
    Endpoint,
    Exchange,
    GarbledError,
    HungError,
    ServerError,
    StatusError,
    dig,
    lines_of,
    same_model,
    sse_events,
)

# Some servers stream more pieces than tokens, or a few tokens over; none this many.
_PIECES_PER_TOKEN: Final = 4
_PIECES_BESIDE: Final = 64
# Pieces that come sooner than that after one another were waiting, whatever a busy machine adds to it: hardly
# a model says 1,000 a second.
_AT_ONCE_S: Final = 1e-3
# Clients that are told to come later without being told when.
_AGAIN_AFTER_S: Final = 0.5
_LEAST_PAUSE_S: Final = 0.02

# How a value is written within a shell's command line, and within the double quotes of JSON and YAML.
_QUOTES: Final[Mapping[str, Callable[[str], str]]] = {
    "shell": shlex.quote,
    "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
}


class SilentError(GarbledError):
    """An answer has ended as it should, without any text."""


class WrongModelError(ServerError):
    """Another model answers than was asked."""


@dataclass(frozen=True)
class Question:
    """What is asked of which model, by the server's name for it, in which session."""

    model: str
    prompt: str
    max_tokens: int
    session: str = "swapbench"


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled; a text that is one placeholder alone becomes its value."""
    if isinstance(template, str):
        whole = PLACEHOLDER.fullmatch(template)
        if whole and not whole[2] and whole[1] in values:
            return values[whole[1]]
        return PLACEHOLDER.sub(lambda found: _quoted(found, values), template)
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in template]
    return template


def _quoted(found: re.Match[str], values: Mapping[str, Any]) -> str:
    quotes = found[2].split("|")[1:]
    if found[1] not in values or any(quote not in _QUOTES for quote in quotes):
        return found[0]
    text = str(values[found[1]])
    for quote in quotes:
        text = _QUOTES[quote](text)
    return text


class Answer:
    """A model's answer while it comes. Times are perf_counter's; None where it never got that far."""

    def __init__(
        self, endpoint: Endpoint, ask: Ask, question: Question, patience_s: float, voice: Voice
    ) -> None:
        """Send the question.

        Raises:
            ServerError: nobody listens there.
        """
        self._ask = ask
        self._question = question
        self._endpoint = endpoint
        self._patience_s = patience_s
        self._voice = voice
        self._given_up = threading.Event()
        self._exchange = self._sent(patience_s)
        self._events: Iterator[tuple[str, Any]] | None = None
        self.sent_s = self._exchange.sent_s
        self.first_byte_s: float | None = None
        self.first_text_s: float | None = None
        self.ended_s: float | None = None
        self.longest_gap_s = 0.0
        self.heard_s = self.sent_s
        self.pieces: list[str] = []
        self.events: list[Any] = []
        self._finished = False
        self._spoken_s = self.sent_s
        self._apart = 0

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "".join(self.pieces)

    @property
    def tokens_per_s(self) -> float | None:
        """Pieces of text after the first, by the time that they took; None where they came in bursts."""
        one_by_one = self._apart >= len(self.pieces) // 2
        if self.first_text_s is None or self.ended_s is None or len(self.pieces) < 2 or not one_by_one:
            return None
        taken_s = self.heard_s - self.first_text_s
        return (len(self.pieces) - 1) / taken_s if taken_s > 0 else None

    def await_byte(self) -> None:
        """Wait for the answer to begin, whatever it says; a server that asks for it is asked again.

        Raises:
            ServerError: it does not.
        """
        while self.first_byte_s is None:
            again_s = self._again_after_s()
            if again_s is None:
                self._exchange.expect(200)
                self.first_byte_s = time.perf_counter()
                return
            left_s = self._patience_s - (time.perf_counter() - self.sent_s)
            if again_s >= left_s or self._given_up.wait(again_s):
                status = self._exchange.head().status
                raise HungError(f"{self._exchange.what}: still answers {status} after {self._patience_s:g} s")
            self._exchange.close()
            self._exchange = self._sent(left_s - again_s)
            if self._given_up.is_set():
                self._exchange.give_up()

    def await_text(self) -> None:
        """Wait for the first piece of the model's text. Pieces of a role alone, empty ones, and what a proxy
        says meanwhile are none.

        Raises:
            ServerError: none comes.
        """
        while not self.pieces:
            if not self._next():
                raise SilentError(f"{self._exchange.what}: answered without any text{self._reasoned()}")

    def await_end(self) -> None:
        """Read the rest.

        Raises:
            ServerError: it breaks off, or does not end.
        """
        while self.ended_s is None and self._next():
            pass

    def give_up(self) -> None:
        """Hang up, from another thread: who reads is told at once, and closes."""
        self._given_up.set()
        self._exchange.give_up()

    def close(self) -> None:
        """Give up."""
        self._given_up.set()
        self._exchange.close()

    def _sent(self, patience_s: float) -> Exchange:
        asked, ask = self._question, self._ask
        values = asdict(asked)
        return Exchange(self._endpoint, "POST", ask.path, filled(ask.body, values), patience_s=patience_s)

    def _again_after_s(self) -> float | None:
        """How long a client waits before it asks again; None where it doesn't."""
        response = self._exchange.head()
        told = response.headers.get("Retry-After", "")
        if response.status not in self._ask.again and not (told and response.status in (429, 503)):
            return None
        try:
            told_s = float(told)
        except ValueError:  # none, or a date
            return _AGAIN_AFTER_S
        return max(_LEAST_PAUSE_S, told_s) if math.isfinite(told_s) else _AGAIN_AFTER_S

    def _next(self) -> bool:
        """One more event; whether there was one."""
        self.await_byte()
        if self._events is None:
            self._events = self._read()
        found = next(self._events, None)
        now_s = time.perf_counter()
        self.longest_gap_s = max(self.longest_gap_s, now_s - self.heard_s)
        if found is None:
            self._end(now_s)
            return False
        self.heard_s = now_s
        self._take(*found, now_s)
        return True

    def _end(self, now_s: float) -> None:
        if self._voice.changes(self.events, self._ask):
            raise self._exchange.garbled("its first piece bears another id than the rest: two answers in one")
        if self._voice.says_why and not self._finished:
            raise self._exchange.garbled("ended without a finish_reason, which its whole answers have")
        self._voice.learn(self.events, self._ask)
        self.ended_s = now_s

    def _take(self, name: str, event: Any, now_s: float) -> None:
        ask, clean = self._ask, self._endpoint.shown
        if error := error_of(name, event, ask):
            raise StatusError(f"{self._exchange.what}: answered an error: {clean(error)}")
        named = dig(event, ask.model) if ask.model else None
        text = text_of(event, ask)
        if text and isinstance(named, str) and named and not same_model(named, self._question.model):
            raise WrongModelError(
                f"asked for {self._question.model}, and {clean(named)} answers: the wrong model"
            )
        if text and self._voice.is_the_models(event, self.events):
            if self.first_text_s is None:
                self.first_text_s = now_s
            self._apart += now_s - self._spoken_s > _AT_ONCE_S
            self._spoken_s = now_s
            self.pieces.append(text)
        self._finished = self._finished or bool(finish_of(event))
        self.events.append(event)
        if len(self.pieces) > _PIECES_PER_TOKEN * self._question.max_tokens + _PIECES_BESIDE:
            raise self._exchange.garbled(
                f"streams on and on: {len(self.pieces)} pieces for {self._question.max_tokens} tokens"
            )

    def _read(self) -> Iterator[tuple[str, Any]]:
        """Names and contents of events."""
        ask, exchange = self._ask, self._exchange
        kind = exchange.head().headers.get_content_type()
        if ask.stream == "sse" and kind != "text/event-stream":
            with suppress(GarbledError):
                if error := error_of("", exchange.document(), ask):
                    raise StatusError(f"{exchange.what}: answered an error: {self._endpoint.shown(error)}")
            shown = self._endpoint.shown(kind)
            raise exchange.garbled(f"answered {shown}, not the event stream that was asked for")
        if ask.stream == "sse":
            events = sse_events(exchange.chunks())
        else:
            events = (("", line) for line in lines_of(exchange.chunks()))
        for name, data in events:
            if ask.stream == "sse" and ask.end and data.strip() == ask.end:
                return
            if not data.strip() and name != "error":
                continue
            try:
                event = json.loads(data)
            except (ValueError, RecursionError):
                if name != "error":
                    raise exchange.garbled(f"said what is no JSON: {self._endpoint.shown(data)}") from None
                event = data
            yield name, event
            if ask.done and dig(event, ask.done):
                return
        if (ask.end if ask.stream == "sse" else ask.done) and not self._finished:
            raise exchange.garbled("closed its answer before the end")

    def _reasoned(self) -> str:
        if not any(map(reasons, self.events)):
            return ""
        return ", and with reasoning: a preset's [ask] text says where, for a model that reasons"

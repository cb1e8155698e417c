"""Asking a model for text, token by token, in whichever protocol the preset says."""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from swapbench.spec.preset import Ask
from swapbench.worker.targets.http import (
    Endpoint,
    Exchange,
    GarbledError,
    HungError,
    ServerError,
    StatusError,
    dig,
    filled,
    same_model,
)

# Ways to end that are none: what was said before is half an answer.
_BROKEN_OFF: Final = frozenset(
    ("error", "failed", "abort", "aborted", "cancelled", "canceled", "timeout", "content_filter")
)
_FINISH: Final = ("choices.0.finish_reason", "done_reason")
_REASONING: Final = ("choices.0.delta.reasoning_content", "choices.0.delta.reasoning", "thinking")
_ROLE: Final = "choices.0.delta.role"
# Some servers stream more pieces than tokens, or a few tokens over; none this many.
_PIECES_PER_TOKEN: Final = 4
_PIECES_BESIDE: Final = 64
# Pieces that come sooner than that after one another were waiting, whatever a busy machine adds to it: hardly
# a model says 1,000 a second.
_AT_ONCE_S: Final = 1e-3
# Clients that are told to come later without being told when.
_AGAIN_AFTER_S: Final = 0.5
_LEAST_PAUSE_S: Final = 0.02


class SilentError(GarbledError):
    """An answer has ended as it should, without any text."""


class WrongModelError(ServerError):
    """Another model answers than was asked."""


def text_of(event: Any, ask: Ask) -> str:
    """The text of an event, as one string or as parts; empty where it has none."""
    for where in ask.text:
        found = dig(event, where)
        if isinstance(found, list):
            parts = [part.get("text") if isinstance(part, dict) else part for part in found]
            found = "".join(part for part in parts if isinstance(part, str))
        if isinstance(found, str) and found:
            return found
    return ""


def finish_of(event: Any) -> str:
    """Why an answer has ended, as the server says it; empty where it goes on."""
    return next((found for where in _FINISH if isinstance(found := dig(event, where), str)), "")


def error_of(name: str, event: Any, ask: Ask) -> str:
    """The server's reason for breaking off, in its words; empty where it doesn't. `name` is that of the
    server-sent event, empty for most."""
    found = next((found for where in ask.error if (found := dig(event, where))), None)
    if found is None and not text_of(event, ask) and isinstance(told := dig(event, "detail"), str):
        found = told
    if found is None and (name == "error" or "error" in (dig(event, "object"), dig(event, "type"))):
        found = dig(event, "message") or event or "an error without words"
    if found is None and (reason := finish_of(event).lower()) in _BROKEN_OFF:
        found = f"finish_reason {reason}"
    return found if isinstance(found, str) else json.dumps(found) if found is not None else ""


def sse_events(chunks: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Names, most often empty, and data of server-sent events; comments and ids are passed over.

    Beyond the standard, a field `error` (llama.cpp has it) is an event of that name, an event of that name
    counts without data, and a line of bare JSON is an event: some servers forget that they stream.
    """
    name, data = "", list[str]()
    for line in lines_of(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data or name == "error":
                yield name, "\n".join(data)
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "error":
            yield "error", value
        elif field.startswith("{"):
            yield "", line
    if data or name == "error":
        yield name, "\n".join(data)


def lines_of(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines, whichever way they end; the last one with or without its end."""
    pending = b""
    for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
    if pending:
        yield pending.removesuffix(b"\r").decode("utf-8", "replace")


class Voice:
    """What a server's own models bear in their pieces, learnt from whole answers.

    A proxy that tells of its progress speaks in the same stream, without the answer's `id` and `model`, or
    before the piece that says whose turn it is. Of a server that never sends these, every text counts.
    """

    def __init__(self) -> None:
        self._marks: frozenset[str] = frozenset()
        # Whether whole answers have a reason for their end.
        self.says_why = False

    def learn(self, events: list[Any], ask: Ask) -> None:
        """From the events of an answer that has ended; its last piece is the model's."""
        spoken = [event for event in events if text_of(event, ask)]
        if spoken:
            role = [_ROLE] if any(dig(event, _ROLE) for event in events) else []
            self._marks = frozenset([name for name in ("id", "model") if dig(spoken[-1], name)] + role)
            self.says_why = any(map(finish_of, events))

    def is_the_models(self, event: Any, before: list[Any]) -> bool:
        """Whether the text of an event is the model's; `before` are those of the same answer."""
        if not all(dig(event, name) for name in self._marks - {_ROLE}):
            return False
        return _ROLE not in self._marks or any(dig(each, _ROLE) for each in (*before, event))

    def changes(self, events: list[Any], ask: Ask) -> bool:
        """Whether an answer is two: its first piece bears another id than its last."""
        spoken = [event for event in events if text_of(event, ask) and self.is_the_models(event, events)]
        ids = [dig(event, "id") for event in spoken]
        return "id" in self._marks and len(ids) > 2 and ids[-1] == ids[-2] != ids[0]


class Completion:
    """A model's answer while it comes. Times are perf_counter's; None where it never got that far.

    `asked` fills the preset's body: {model} {prompt} {max_tokens} {session}.
    """

    def __init__(
        self, endpoint: Endpoint, ask: Ask, asked: dict[str, Any], timeout_s: float, voice: Voice
    ) -> None:
        """Send the question; a ServerError if nobody listens there."""
        self._ask = ask
        self._asked = asked
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._voice = voice
        self._given_up = threading.Event()
        self._exchange = self._sent(timeout_s)
        self._read: Iterator[tuple[str, Any]] | None = None
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
        """Wait for the answer to begin, whatever it says; a server that asks for it is asked again."""
        while self.first_byte_s is None:
            again_s = self._again_after_s()
            if again_s is None:
                self._exchange.expect(200)
                self.first_byte_s = time.perf_counter()
                return
            left_s = self._timeout_s - (time.perf_counter() - self.sent_s)
            if again_s >= left_s or self._given_up.wait(again_s):
                status = self._exchange.head().status
                raise HungError(f"{self._exchange.what}: still answers {status} after {self._timeout_s:g} s")
            self._exchange.close()
            self._exchange = self._sent(left_s - again_s)
            if self._given_up.is_set():
                self._exchange.give_up()

    def await_text(self) -> None:
        """Wait for the first piece of the model's text: no role alone, no empty piece, no word of a proxy."""
        while not self.pieces:
            if not self._next():
                why = "answered without any text"
                if any(dig(event, where) for event in self.events for where in _REASONING):
                    why += ", and with reasoning: a preset's [ask] text says where, for a model that reasons"
                raise SilentError(f"{self._exchange.what}: {why}")

    def await_end(self) -> None:
        """Read the rest; a ServerError if it breaks off, or does not end."""
        while self.ended_s is None and self._next():
            pass

    def give_up(self) -> None:
        """Hang up, from another thread: who reads is told at once, and closes."""
        self._given_up.set()
        self._exchange.give_up()

    def close(self) -> None:
        self._given_up.set()
        self._exchange.close()

    def _sent(self, timeout_s: float) -> Exchange:
        body = filled(self._ask.body, self._asked)
        return Exchange(self._endpoint, "POST", self._ask.path, body, timeout_s=timeout_s)

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
        """Read one event; whether there was another."""
        self.await_byte()
        if self._read is None:
            self._read = self._events()
        found = next(self._read, None)
        now_s = time.perf_counter()
        self.longest_gap_s = max(self.longest_gap_s, now_s - self.heard_s)
        if found is not None:
            self.heard_s = now_s
            self._take(*found, now_s)
            return True
        if self._voice.changes(self.events, self._ask):
            raise self._exchange.garbled("its first piece bears another id than the rest: two answers in one")
        if self._voice.says_why and not self._finished:
            raise self._exchange.garbled("ended without a finish_reason, which its whole answers have")
        self._voice.learn(self.events, self._ask)
        self.ended_s = now_s
        return False

    def _take(self, name: str, event: Any, now_s: float) -> None:
        ask, asked, clean = self._ask, self._asked, self._endpoint.shown
        if error := error_of(name, event, ask):
            raise StatusError(f"{self._exchange.what}: answered an error: {clean(error)}")
        named = dig(event, ask.model) if ask.model else None
        text = text_of(event, ask)
        if text and isinstance(named, str) and named and not same_model(named, asked["model"]):
            raise WrongModelError(f"asked for {asked['model']}, and {clean(named)} answers: the wrong model")
        if text and self._voice.is_the_models(event, self.events):
            if self.first_text_s is None:
                self.first_text_s = now_s
            else:
                self._apart += now_s - self._spoken_s > _AT_ONCE_S
            self._spoken_s = now_s
            self.pieces.append(text)
        self._finished = self._finished or bool(finish_of(event))
        self.events.append(event)
        if len(self.pieces) > _PIECES_PER_TOKEN * asked["max_tokens"] + _PIECES_BESIDE:
            raise self._exchange.garbled(
                f"streams on and on: {len(self.pieces)} pieces for {asked['max_tokens']} tokens"
            )

    def _events(self) -> Iterator[tuple[str, Any]]:
        """Names and contents of events."""
        ask, exchange, shown = self._ask, self._exchange, self._endpoint.shown
        kind = exchange.head().headers.get_content_type()
        sse = ask.stream == "sse"
        if sse and kind != "text/event-stream":
            with suppress(GarbledError):
                if error := error_of("", exchange.document(), ask):
                    raise StatusError(f"{exchange.what}: answered an error: {shown(error)}")
            raise exchange.garbled(f"answered {shown(kind)}, not the event stream that was asked for")
        chunks = exchange.chunks()
        for name, data in sse_events(chunks) if sse else (("", line) for line in lines_of(chunks)):
            if sse and ask.end and data.strip() == ask.end:
                return
            if not data.strip() and name != "error":
                continue
            try:
                event = json.loads(data)
            except (ValueError, RecursionError):
                if name != "error":
                    raise exchange.garbled(f"said what is no JSON: {shown(data)}") from None
                event = data
            yield name, event
            if ask.done and dig(event, ask.done):
                return
        if (ask.end if sse else ask.done) and not self._finished:
            raise exchange.garbled("closed its answer before the end")

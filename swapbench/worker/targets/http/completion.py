"""Asking a model for text, token by token, in whichever protocol the preset says."""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from swapbench.spec.preset import Ask
from swapbench.worker.targets.http.client import (
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
    """The server's reason for breaking off, in its words; empty where it doesn't.

    Args:
        name: of the server-sent event; empty for most.
    """
    found = next((found for where in ask.error if (found := dig(event, where))), None)
    if found is None and not text_of(event, ask) and isinstance(told := dig(event, "detail"), str):
        found = told
    if found is None and (name == "error" or "error" in (dig(event, "object"), dig(event, "type"))):
        found = dig(event, "message") or event or "an error without words"
    if found is None and (reason := finish_of(event).lower()) in _BROKEN_OFF:
        found = f"finish_reason {reason}"
    return found if isinstance(found, str) else json.dumps(found) if found is not None else ""


def reasons(event: Any) -> bool:
    """Whether it has a piece of reasoning, wherever servers put that."""
    return any(dig(event, where) for where in _REASONING)


class Voice:
    """What a server's own models bear in their pieces, learnt from whole answers.

    A proxy that tells of its progress speaks in the same stream, without the `id` and the `model` that the
    answer itself has, or before the piece that says whose turn it is. Of a server that never sends these,
    every text counts.
    """

    def __init__(self) -> None:
        self._marks: frozenset[str] = frozenset()
        # Whether whole answers have a reason for their end.
        self.says_why = False

    def learn(self, events: list[Any], ask: Ask) -> None:
        """From the events of an answer that has ended; its last piece is the model's."""
        spoken = [event for event in events if text_of(event, ask)]
        if spoken:
            last = spoken[-1]
            marks = {name for name in ("id", "model") if dig(last, name)}
            if any(dig(event, "choices.0.delta.role") for event in events):
                marks.add("role")
            self._marks = frozenset(marks)
            self.says_why = any(map(finish_of, events))

    def is_the_models(self, event: Any, before: list[Any]) -> bool:
        """Whether the text of an event is the model's; `before` are those of the same answer."""
        if not all(dig(event, name) for name in self._marks - {"role"}):
            return False
        return "role" not in self._marks or any(dig(e, "choices.0.delta.role") for e in (*before, event))

    def changes(self, events: list[Any], ask: Ask) -> bool:
        """Whether an answer is two: its first piece bears another id than its last."""
        if "id" not in self._marks:
            return False
        spoken = [event for event in events if text_of(event, ask) and self.is_the_models(event, events)]
        ids = [dig(event, "id") for event in spoken]
        return len(ids) > 2 and ids[-1] == ids[-2] != ids[0]


def sse_events(chunks: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Names, most often empty, and data of server-sent events; comments and ids are passed over.

    A field `error`, which the standard doesn't have and llama.cpp does, is an event of that name; an event of
    that name counts without data, too. A line of bare JSON, as servers say that remember too late that they
    stream, is an event.
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


@dataclass(frozen=True)
class Question:
    """What is asked of which model, by the server's name for it, in which session."""

    model: str
    prompt: str
    max_tokens: int
    session: str = "swapbench"


class Completion:
    """A model's answer while it comes. Times are perf_counter's; None where it never got that far."""

    def __init__(
        self, endpoint: Endpoint, ask: Ask, question: Question, timeout_s: float, voice: Voice
    ) -> None:
        """Send the question.

        Raises:
            ServerError: nobody listens there.
        """
        self._ask = ask
        self._question = question
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._voice = voice
        self._given_up = threading.Event()
        self._exchange = self._sent(timeout_s)
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
            left_s = self._timeout_s - (time.perf_counter() - self.sent_s)
            if again_s >= left_s or self._given_up.wait(again_s):
                status = self._exchange.head().status
                raise HungError(f"{self._exchange.what}: still answers {status} after {self._timeout_s:g} s")
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
        self._given_up.set()
        self._exchange.close()

    def _sent(self, timeout_s: float) -> Exchange:
        asked, ask = self._question, self._ask
        values = asdict(asked)
        return Exchange(self._endpoint, "POST", ask.path, filled(ask.body, values), timeout_s=timeout_s)

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

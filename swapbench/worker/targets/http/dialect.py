"""What an event of an answer says, in the dialects that servers speak: text, an error, and whose it is."""

import json
from typing import Any, Final

from swapbench.spec.preset import Ask
from swapbench.worker.targets.http.speaking import dig

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

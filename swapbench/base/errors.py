"""What can go wrong, one class per kind of failure, and the exit code that each one means."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from itertools import accumulate
from signal import Signals
from typing import Final, Self

_NAMED: Final = 24
_NAMED_CHARACTERS: Final = 300
# Shares of letters that two words have in common, in order.
_ALIKE: Final = 0.6
_ALIKE_IF_SHORT: Final = 0.7
_SHORT: Final = 5
_BEGINNING: Final = 3
# Of a line that explains a failure; what is read out of a path or a file may be of any length.
_LONGEST_LINE: Final = 600
_LEFT_OUT: Final = " ... "


class Exit(IntEnum):
    """The exit codes of every command, and what each means."""

    meaning: str

    def __new__(cls, code: int, meaning: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "fine"
    CRASH = 1, "swapbench crashed: a bug"
    USAGE = 2, "usage: the command line, an experiment file, a missing model"
    REGRESSION = 3, "regression"
    TARGET_MISSED = 4, "target missed"
    LEAK = 5, "leak"
    INCONCLUSIVE = 6, "inconclusive or invalid (`--strict`, `--on-inconclusive fail`); nothing to compare"
    FAILED = 7, "a swap or a target failed"
    HUNG_UP = 129, "ended by SIGHUP: its terminal was closed"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    TERMINATED = 143, "ended by SIGTERM"


class Stopped(KeyboardInterrupt):
    """Ended by a signal that is nobody's Ctrl-C: a CI system's SIGTERM, a terminal that was closed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = Signals(number)


class SwapbenchError(Exception):
    """A failure that is explained to the user in one line: what, where, what to do instead."""

    exit_code: Exit = Exit.USAGE


class UsageError(SwapbenchError):
    """The command line or a file that the user wrote is wrong."""


class ExperimentError(UsageError):
    """An experiment file does not say what an experiment must say."""


class ModelError(UsageError):
    """A model is unknown, missing, or can't be had as things are; the message says what to do."""


class ResultsError(UsageError):
    """A run's folder is missing, unreadable, or of a version this swapbench does not know."""


class OutputError(UsageError):
    """What a command prints, or keeps, can't be written: the disk is full, or it is another user's."""


class TransferError(SwapbenchError):
    """A download broke off, was truncated or refused by the hub."""

    exit_code = Exit.FAILED


class WorkerError(SwapbenchError):
    """The worker could not start, died, or hung; the message names signal or exit code and phase."""

    exit_code = Exit.FAILED


class IncomparableError(SwapbenchError):
    """There is nothing to compare with: no baseline, no base that can be built, or that speaks the same."""

    exit_code = Exit.INCONCLUSIVE


def one_line(text: str) -> str:
    """A failure's explanation as it can be shown: one line, of bounded length, that no terminal obeys.

    What is wrong, and where, stands at its beginning, what to do instead at its end: the middle is left out.
    """
    # What is no character, or a terminal would obey, is shown as Python would write it.
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(text.split()))
    if len(shown) <= _LONGEST_LINE:
        return shown
    kept = (_LONGEST_LINE - len(_LEFT_OUT)) // 2
    return f"{shown[:kept]}{_LEFT_OUT}{shown[-kept:]}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What of `known` is so like a word that it may have been meant."""
    choices = sorted(set(known))
    # Two letters in the wrong order are half of a short word, and a frequent slip.
    swapped = (f"{word[:i]}{word[i + 1]}{word[i]}{word[i + 2 :]}" for i in range(len(word) - 1))
    slips = [slip for slip in swapped if slip in choices]
    # In a short word, what looks alike is soon half of it.
    near = get_close_matches(word, choices, n=1, cutoff=_ALIKE if len(word) >= _SHORT else _ALIKE_IF_SHORT)
    begun = [choice for choice in choices if len(word) >= _BEGINNING and choice.startswith(word)]
    return next(iter(slips or near or begun), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause that names the nearest of `known`, or as many as fit in a line when none is near."""
    choices = sorted(set(known))
    near = nearest(word, choices)
    if near:
        return f'did you mean "{near}"?'
    if not choices:
        return "none is known"
    ends = accumulate(len(choice) + len(", ") for choice in choices[:_NAMED])
    named = max(1, sum(end <= _NAMED_CHARACTERS for end in ends))
    more = f" and {len(choices) - named} more" if len(choices) > named else ""
    return f"known: {', '.join(choices[:named])}{more}"


def let_go(error: BaseException) -> None:
    """Drop the tracebacks of an exception and of those that led to it; what they say stays."""
    pending, seen = [error], {id(error)}
    while pending:
        current = pending.pop()
        current.__traceback__ = None
        for earlier in (current.__cause__, current.__context__):
            if earlier is not None and id(earlier) not in seen:
                seen.add(id(earlier))
                pending.append(earlier)


def sentence(error: BaseException) -> str:
    """What an error says, as `one_line` has it; its kind, where it says nothing."""
    said = f"sys.exit({error.code})" if isinstance(error, SystemExit) else str(error)
    return one_line(said) or type(error).__name__

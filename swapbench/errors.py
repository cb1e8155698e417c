"""What can go wrong, one class per kind of failure, and the exit code that each one means."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import IntEnum
from typing import Final

_NAMED: Final = 24
# Shares of letters that two words have in common, in order.
_ALIKE: Final = 0.6
_ALIKE_IF_SHORT: Final = 0.7
_SHORT: Final = 5
_BEGINNING: Final = 3


class Exit(IntEnum):
    """The exit codes of every command; `EXIT_MEANINGS` says what each means."""

    OK = 0
    CRASH = 1
    USAGE = 2
    REGRESSION = 3
    TARGET_MISSED = 4
    LEAK = 5
    INCONCLUSIVE = 6
    FAILED = 7
    INTERRUPTED = 130


EXIT_MEANINGS: Final[Mapping[Exit, str]] = {
    Exit.OK: "fine",
    Exit.CRASH: "swapbench crashed: a bug",
    Exit.USAGE: "usage: the command line, an experiment file, a missing model",
    Exit.REGRESSION: "regression",
    Exit.TARGET_MISSED: "target missed",
    Exit.LEAK: "leak",
    Exit.INCONCLUSIVE: "inconclusive or invalid (`--strict`, `--on-inconclusive fail`); nothing to compare",
    Exit.FAILED: "a swap or a target failed",
    Exit.INTERRUPTED: "interrupted",
}


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


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What of `known` is so like a word that it may have been meant."""
    choices = sorted(set(known))
    # In a short word, what looks alike is soon half of it.
    near = get_close_matches(word, choices, n=1, cutoff=_ALIKE if len(word) >= _SHORT else _ALIKE_IF_SHORT)
    begun = [choice for choice in choices if len(word) >= _BEGINNING and choice.startswith(word)]
    return next(iter(near or begun), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause that names the nearest of `known`, or all of them, if they aren't many, when none is near."""
    choices = sorted(set(known))
    near = nearest(word, choices)
    if near:
        return f'did you mean "{near}"?'
    more = f" and {len(choices) - _NAMED} more" if len(choices) > _NAMED else ""
    return f"known: {', '.join(choices[:_NAMED])}{more}" if choices else "none is known"

"""Ctrl-C, once or many times, and other ends from outside: a command ends once, and tidies up in peace."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Final

from swapbench.base.errors import Exit, Stopped

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Who presses it again after that means that it takes too long.
_PEACE_S: Final = 5.0
_AGAIN_S: Final = 0.05
_heeded: tuple[signal.Signals, ...] = ()
_came: KeyboardInterrupt | None = None
_held = False
_waiting: int | None = None


def heed() -> None:
    """From now on; not where whoever started this process has it ignore one, as `nohup ... &` does.

    A CI system ends a job by SIGTERM, a terminal that is closed by SIGHUP: all is kept as after Ctrl-C.
    """
    global _heeded
    _heeded = tuple(number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _listen)
    sys.unraisablehook = _unraisable
    _listen()


def hold() -> None:
    """Until `let_go`, what comes waits: a run's folder is there, and nobody yet to say how it ended."""
    global _held
    _held = True


def let_go() -> None:
    """Have raised what came since `hold`, here.

    Raises:
        KeyboardInterrupt: something came.
    """
    global _held, _waiting
    _held, waiting, _waiting = False, _waiting, None
    if waiting is not None:
        _interrupt(waiting, None)


def ignore() -> None:
    """A command has ended, and the interpreter is about to: nothing is left to be interrupted."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def behind(error: Exception | KeyboardInterrupt) -> KeyboardInterrupt | None:
    """The end from outside that an error stands for: Python and pydantic make other ones of some."""
    return error if isinstance(error, KeyboardInterrupt) else _came


def in_words(error: KeyboardInterrupt) -> str:
    """What a user is told of an end that came from outside."""
    return f"ended by {error.signal.name}" if isinstance(error, Stopped) else "interrupted"


def exit_code(error: KeyboardInterrupt) -> Exit:
    """As shells have it: 128 and the signal's number."""
    return Exit(128 + (error.signal if isinstance(error, Stopped) else signal.SIGINT))


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """An interrupt that can't be raised where it comes, as in a callback from Rust, comes again."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    _listen()
    number = _came.signal if isinstance(_came, Stopped) else signal.SIGINT
    threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number)).start()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _came, _waiting
    # Left in peace for a while: a handler that only looked away could be all that a process has time for.
    for heeded in _heeded:
        signal.signal(heeded, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, _PEACE_S)
    if _held:
        _waiting = number
        return
    _came = KeyboardInterrupt() if number == signal.SIGINT else Stopped(number)
    raise _came


def _listen(*_: object) -> None:
    for number in _heeded:
        signal.signal(number, _interrupt)

"""Standard output and standard error: what is said there, and what happens where it can't be written.

A closed pipe or a full disk ends no measurement, nor does a sign that the encoding has not.
"""

import codecs
import io
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from swapbench.base.errors import OutputError, one_line

if TYPE_CHECKING:
    from rich.console import Console

_READABLE: Final = "swapbench.readable"
# What reports draw with and speak in, for encodings that lack it.
PLAINER: Final = {
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{EN DASH}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MIDDLE DOT}": ".",
    "\N{MICRO SIGN}": "u",
    "\N{NO-BREAK SPACE}": " ",
    "\N{ZERO WIDTH SPACE}": "",
    "\N{CHECK MARK}": "+",
    "\N{BALLOT X}": "x",
    "\N{BLACK UP-POINTING TRIANGLE}": "^",
    "\N{BLACK DOWN-POINTING TRIANGLE}": "v",
    **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
}


def say(text: str) -> None:
    """To the user, beside the report."""
    print(text, file=sys.stderr)


def complain(what: object) -> None:
    """What went wrong, as every failure is told: in one line."""
    say(one_line(f"swapbench: {what}"))


def print_rows(
    rows: list[dict[str, Any]], show: Callable[[list[dict[str, Any]], "Console"], None], *, as_json: bool
) -> None:
    """A list, for programs as JSON, for people as `show` does where there is anything in it."""
    from swapbench.report.console import list_console

    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        show(rows, list_console())


class Outlet(io.TextIOWrapper):
    """A standard stream that never fails: where it can't be written any more, the rest goes nowhere."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """What is buffered is tried again later, last by the interpreter as it ends: then it goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        self.failure = error


def guard() -> None:
    """From now on nothing that can't be shown ends a measurement, nor a pipe that is closed a report."""
    codecs.register_error(_READABLE, _readable)
    # So do children in Python: what they print is read, or kept in a log, as UTF-8.
    os.environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    sys.stdout = _outlet_of(sys.stdout)
    sys.stderr = _outlet_of(sys.stderr)


def flush_output() -> None:
    """Have everything written that was printed; OutputError says that it could not be: the disk is full."""
    sys.stdout.flush()
    failure = sys.stdout.failure if isinstance(sys.stdout, Outlet) else None
    # A reader that has gone, as `head` does, has what it wanted.
    if failure is not None and not isinstance(failure, BrokenPipeError):
        raise OutputError(f"standard output can't be written: {failure.strerror}")


def _outlet_of(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed from the start
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return Outlet(
        stream.buffer,
        encoding=stream.encoding,
        errors=_READABLE,
        line_buffering=True,
        write_through=stream.write_through,
    )


def _readable(error: UnicodeError) -> tuple[str, int]:
    """What takes the place of signs that an encoding has not; as JSON has them where nothing is plainer."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(PLAINER[s] if s in PLAINER else json.dumps(s)[1:-1] for s in signs), error.end

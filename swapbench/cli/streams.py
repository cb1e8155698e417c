"""Standard output and standard error that can't be written any more: what that ends, and what it doesn't."""

import io
import os
import sys
from typing import TextIO

from swapbench.errors import OutputError


class Outlet(io.TextIOWrapper):
    """A standard stream that never fails: where it can't be written any more, the rest goes nowhere."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """As of any stream."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """As of any stream."""
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
    """From now on no progress that can't be shown ends a measurement, nor a pipe that is closed a report."""
    sys.stdout = _outlet_of(sys.stdout)
    sys.stderr = _outlet_of(sys.stderr)


def flush_output() -> None:
    """Have everything written that was printed.

    A reader that has gone, as `head` does, has what it wanted.

    Raises:
        OutputError: it can't be written, or could not be before: the disk is full.
    """
    sys.stdout.flush()
    failure = sys.stdout.failure if isinstance(sys.stdout, Outlet) else None
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
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )

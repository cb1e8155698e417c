"""`swapbench`, and `python -m swapbench`: Ctrl-C is heeded before anything that takes long is imported."""

import sys

# `python -m` puts the working directory first, and what lies there is not ours to import.
if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

import os
import signal
from contextlib import suppress


def main() -> None:
    """The command line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _leave)
    from swapbench.cli import main as carry_out

    carry_out()


def _leave(number: int, _: object) -> None:
    """Nothing has begun that would have to be tidied up."""
    words = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    with suppress(OSError):
        os.write(2, f"swapbench: {words}\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()

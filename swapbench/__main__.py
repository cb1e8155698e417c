"""`swapbench`, and `python -m swapbench`: Ctrl-C is heeded before anything that takes long is imported."""

import sys

# `python -m` puts the working directory first, and what lies there is not ours to import.
if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

import os
import signal
from contextlib import suppress

_INTERRUPTED = 130


def main() -> None:
    """The command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from swapbench.cli import main as carry_out

    carry_out()


def _leave(*_: object) -> None:
    """Nothing has begun that would have to be tidied up."""
    with suppress(OSError):
        os.write(2, b"swapbench: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()

"""How a process that has computed with MLX ends."""

import os
import sys


def leave() -> None:
    """End this process at once, with exit code 0.

    MLX's CPU build keeps an OS thread for every Python thread that ever computed. When the interpreter
    shuts down with such threads about, it now and then aborts ("terminate called without an active
    exception"), which macOS would show as a crash. Nothing is left to be done by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""How a process that has computed with MLX ends."""

import os
import sys
from typing import NoReturn


def leave(code: int = 0) -> NoReturn:
    """End this process at once.

    MLX's CPU build keeps an OS thread for every Python thread that ever computed. When the interpreter
    shuts down with such threads about, it now and then aborts ("terminate called without an active
    exception"), which macOS would show as a crash; and it waits for an engine's thread that nobody stops any
    more. Nothing is left to be done by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

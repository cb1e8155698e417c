"""How a process that has computed with MLX ends."""

import os
import sys
from typing import NoReturn


def leave(code: int = 0) -> NoReturn:
    """End this process at once.

    A thread that computed with MLX takes Python's lock once more when it ends, to free what it compiled
    (https://github.com/ml-explore/mlx/pull/4110). An interpreter that shuts down meanwhile aborts now and
    then ("terminate called without an active exception"), which macOS would show as a crash; and it waits
    for an engine's thread that nobody stops any more. Nothing is left to be done by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

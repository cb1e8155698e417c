"""Ctrl-C, pressed once or many times: a command ends by it once, and is left in peace to tidy up."""

import signal
import time
from types import FrameType
from typing import Final

# Who presses it again after that means that it takes too long.
_PEACE_S: Final = 5.0
_interrupted_s = -_PEACE_S


def heed() -> None:
    """From now on; not where whoever started this process has it ignore Ctrl-C, as `nohup ... &` does."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def heed_sigterm() -> None:
    """A CI system ends a job by SIGTERM: what was measured is kept, and all is tidied up, as after Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)


def ignore() -> None:
    """A command has ended, and the interpreter is about to: nothing is left to be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    global _interrupted_s
    now_s = time.monotonic()
    if now_s - _interrupted_s >= _PEACE_S:
        _interrupted_s = now_s
        raise KeyboardInterrupt

"""Processes: how Python is started, how one ended, a path in a command that is printed."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, TextIO

from swapbench.base.errors import UsageError

# What an interpreter has installed is measured. Without -P, Python looks into the working directory first:
# in a checkout, every interpreter would run that checkout's code, and any json.py be taken for Python's.
OWN_CODE: Final = ("-P",)

_LEND: Final = str(Path(__file__).with_name("lend.py"))
# Before the name of a module of ours and its arguments: an interpreter without swapbench is lent this one.
LENT: Final = (*OWN_CODE, _LEND)

_ANSWER_S: Final = 60.0
_LENDING: Final = "import runpy, sys; lend = runpy.run_path(sys.argv.pop(1))\n"


def stdout_alone() -> TextIO:
    """stdout, for an answer that must be alone on it: what libraries print goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def said_by(python: str, code: str, *arguments: str) -> tuple[str, str]:
    """What an interpreter prints, nothing where it fails; and the last that it complained of.

    `code` may import swapbench, which is lent, and use `lend`, the names of lend.py.

    Raises:
        UsageError: it can't be started, or does not answer.
    """
    try:
        done = subprocess.run(
            [python, *OWN_CODE, "-c", _LENDING + code, _LEND, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
        )
    except OSError as error:
        raise UsageError(f"{python}: {error.strerror}; name a Python interpreter") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{python}: did not answer within {_ANSWER_S:g} s; is it a Python?") from None
    complaints = done.stderr.strip().splitlines() or ["it printed nothing"]
    if complaints[0].lower() == "unknown option -p":  # which is of 3.11
        complaints = ["it takes Python 3.11 or newer"]
    return "" if done.returncode else done.stdout.strip(), complaints[-1]


def how_it_ended(code: int) -> str:
    """Of a return code as subprocess has it: `was killed by SIGKILL`, `ended with exit code 3`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have numbers alone
        return f"was killed by signal {-code}"


def quoted(path: str | Path) -> str:
    """No option, one line, and in signs that standard output has: $'...' is what bash, zsh and ksh read."""
    word = str(path)
    if word.startswith("-"):
        word = f"./{word}"
    try:
        word.encode(sys.stdout.encoding or "utf-8")
        shown = word.isprintable()
    except UnicodeEncodeError:
        shown = False
    if shown:
        return shlex.quote(word)
    plain = (chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\{b:03o}" for b in word.encode())
    return f"$'{''.join(plain)}'"

"""Paths as a command that is printed has them: it works as it stands."""

import shlex
import sys
from pathlib import Path


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

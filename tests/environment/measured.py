"""Commands that have something to say, and how they are called with streams of one's own."""

import subprocess
import sys
from pathlib import Path

LINES = ("history slow", "show scripted.toml", "runs", "list", "schema", "--help", "models list", "targets")


def said(folder: Path, *words: str, out: int, err: int = subprocess.PIPE) -> tuple[int, str]:
    """Exit code, and what went to standard error where that is not `err`."""
    done = subprocess.run(
        [sys.executable, "-m", "swapbench", *words],
        cwd=folder,
        stdout=out,
        stderr=err,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr or ""

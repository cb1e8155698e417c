"""How Python is started for whatever measures or makes."""

import subprocess
from pathlib import Path
from typing import Final

from swapbench.base.errors import UsageError

# What an interpreter has installed is measured. Without -P, Python looks into the working directory first:
# in a checkout, every interpreter would run that checkout's code, and any json.py be taken for Python's.
OWN_CODE: Final = ("-P",)

_LEND: Final = str(Path(__file__).with_name("lend.py"))
# Before the name of a module of ours and its arguments: an interpreter without swapbench is lent this one.
LENT: Final = (*OWN_CODE, _LEND)

_ANSWER_S: Final = 60.0
_LENDING: Final = "import runpy, sys; lend = runpy.run_path(sys.argv.pop(1))\n"


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

"""How a process ended, in words."""

import signal


def how_it_ended(code: int) -> str:
    """Of a return code as subprocess has it: `was killed by SIGKILL`, `ended with exit code 3`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have numbers alone
        return f"was killed by signal {-code}"

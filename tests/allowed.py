"""What a process may have, made up."""

from swapbench.machine.allowance import ByteLimit, Memory

PLENTY = 1 << 40


def memory(available: int, *, total: int = PLENTY, obtainable: int = PLENTY, by: str = "") -> Memory:
    """So much is available; the rest is no matter, unless it is said."""
    return Memory(ByteLimit(total, by), ByteLimit(available, by), ByteLimit(obtainable, by))

"""The phases of a swap."""

from docgen.cells import table
from swapbench.base.phases import MEANING


def phase_table() -> str:
    """Each phase, in order, and what happens in it."""
    return table(("Phase", "What happens"), MEANING.items())

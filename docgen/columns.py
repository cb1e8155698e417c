"""The columns of a run's tables."""

from docgen.cells import table
from swapbench.wire.meanings import MEANINGS


def column_table(file: str) -> str:
    """Column, unit, meaning, and when it is empty."""
    rows = [
        (", ".join(f"`{name}`" for name in row.names), row.unit, row.meaning, row.empty)
        for row in MEANINGS[file]
    ]
    return table(("Column", "Unit", "Meaning", "Empty"), rows)

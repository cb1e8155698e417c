"""The columns of a run's tables."""

from docgen.cells import table
from swapbench.wire.measures import Measure
from swapbench.wire.swap import TABLES


def column_table(file: str) -> str:
    """Column, unit, meaning, and when it is empty; columns that mean the same stand together."""
    columns = next(one for one in TABLES if one.file == file).columns
    same: dict[tuple[str, Measure], list[str]] = {}
    for column in columns:
        unit = "true, false" if column.kind == "flag" else column.unit
        same.setdefault((unit, column.measure), []).append(column.name)
    rows = [
        (", ".join(f"`{name}`" for name in names), unit, measure.meaning, measure.empty)
        for (unit, measure), names in same.items()
    ]
    return table(("Column", "Unit", "Meaning", "Empty"), rows)

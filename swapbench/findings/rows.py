"""Rows of a run's tables, as analysis takes them: by column, with figures that may not have been recorded."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


def records(frame: "pd.DataFrame") -> list[Row]:
    """Each row by its columns' names."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def number(value: Any) -> float | None:
    """A figure of a table; None where it was not recorded."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

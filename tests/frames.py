"""A run's tables as data frames, in which tests look at them."""

from collections.abc import Iterable

import pandas as pd

from swapbench.store.tables import Row


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One table."""
    return pd.DataFrame(list(rows))

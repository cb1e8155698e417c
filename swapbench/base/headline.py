"""The figure that a run's swaps stand for, in reports and lists, gates, comparisons and histories alike."""

from typing import Literal

HeadlineFigure = Literal["to_first_token", "total"]


def headline_figure(counted: int, answered: int) -> HeadlineFigure:
    """Swap request to first token, where every counted swap has one; the total where not.

    Args:
        counted: how many swaps of one scenario, under one strategy, count.
        answered: how many of these have a first token.
    """
    return "to_first_token" if 0 < counted == answered else "total"

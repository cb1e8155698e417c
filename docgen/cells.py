"""Rows of Markdown tables."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_PAGE: Final = re.compile(r"(?<![\w/\[])(?<!\]\()docs/((?:[\w-]+/)*[\w-]+\.md)(#[\w-]+)?")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a page of docs/ that a cell names becomes a link."""
    lines = [_row(heads), "|" + "---|" * len(heads), *(_row(row) for row in rows)]
    return "\n".join(lines)


def linked(text: str) -> str:
    """`docs/targets.md` as a link, from a page that lies in docs/ itself."""
    return _PAGE.sub(lambda page: f"[{page[1]}]({page[1]}{page[2] or ''})", text)


def _row(cells: Sequence[str]) -> str:
    shown = (linked(" ".join(cell.split())).replace("|", "\\|") for cell in cells)
    return "|" + "|".join(f" {cell} " if cell else " " for cell in shown) + "|"

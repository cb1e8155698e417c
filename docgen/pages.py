"""Blocks of the pages in docs/ that are made of the code, between two comments that no reader sees."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docgen.columns import column_table
from docgen.commands import command_reference, exit_codes
from docgen.keys import key_table
from docgen.phases import phase_table
from docgen.platforms import claim_table

DOCS: Final = Path(__file__).parent.parent / "docs"
_BLOCK: Final = re.compile(
    r"(?P<begin><!-- made of the code: (?P<kind>\w+)(?: (?P<of>\S+))? -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)
_MAKERS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "phases": lambda _of, _page: phase_table(),
    "exits": lambda _of, _page: exit_codes(),
    "claims": lambda _of, _page: claim_table(),
    "commands": lambda _of, _page: command_reference(),
    "keys": key_table,
    "columns": lambda of, _page: column_table(of),
}


def pages() -> tuple[Path, ...]:
    """Every page that has such a block."""
    return tuple(path for path in sorted(DOCS.rglob("*.md")) if _BLOCK.search(path.read_text("utf-8")))


def renewed(page: str) -> str:
    """The page with every block as the code has it now."""

    def made(block: re.Match[str]) -> str:
        body = _MAKERS[block["kind"]](block["of"] or "", page)
        return f"{block['begin']}\n{body.strip()}\n\n{block['end']}"

    return _BLOCK.sub(made, page)


def renew_all() -> list[Path]:
    """Write what has changed; returns the pages that have."""
    changed = []
    for path in pages():
        before = path.read_text("utf-8")
        after = renewed(before)
        if after != before:
            path.write_text(after, "utf-8")
            changed.append(path)
    return changed

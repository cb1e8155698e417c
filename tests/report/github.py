"""What GitHub makes of Markdown: tables and folded parts by a parser, diagrams by the grammar of ours."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Of Mermaid's grammar of Gantt charts, what a report uses: https://mermaid.js.org/syntax/gantt.html
_DIAGRAM: Final = (
    r'%%\{init: \{"gantt": \{"leftPadding": \d+\}\}\}%%\ngantt\n    dateFormat x\n    axisFormat %s\.%L\n'
    r"(    section [^:#;\n]+\n(    [^:#;\n]+ :(crit, |active, )?\d+, [1-9]\d*ms\n)+)+"
)


@dataclass(frozen=True)
class Rendered:
    """A document that has passed every rule."""

    tables: list[list[list[str]]]
    folded: list[str]
    diagrams: list[str]


def rendered(text: str) -> Rendered:
    """The document as GitHub would take it; fails where anything would fall out of its form."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    _check_rows(text, tokens)
    diagrams = [token.content for token in tokens if token.type == "fence" and token.info == "mermaid"]
    for diagram in diagrams:
        assert re.fullmatch(_DIAGRAM, diagram), diagram
    return Rendered(_tables(tokens), _folded(tokens), diagrams)


def _check_rows(text: str, tokens: list[Token]) -> None:
    """Every line that looks like a row is one, with as many cells as its table has columns."""
    lines = text.splitlines()
    inside: set[int] = set()
    for token in tokens:
        if token.type == "table_open":
            assert token.map is not None
            first, last = token.map
            rows = range(first, last)
            inside.update(rows)
            assert len({len(re.findall(r"(?<!\\)\|", lines[row])) for row in rows}) == 1, lines[first]
    assert {i for i, line in enumerate(lines) if line.startswith("|")} == inside


def _tables(tokens: list[Token]) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    for token, content in pairwise(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append(content.content)
    return tables


def _folded(tokens: list[Token]) -> list[str]:
    """Titles of the parts that are folded; each is opened and closed, and none is within another.

    HTML is a block of its own: whatever of a run is in there besides would be HTML, too.
    """
    titles: list[str] = []
    is_open = False
    for token in tokens:
        assert token.type != "html_inline"
        assert all(child.type != "html_inline" for child in token.children or ())
        if token.type != "html_block":
            continue
        if is_open:
            assert token.content == "</details>\n"
        else:
            title = re.fullmatch(r"<details><summary>([\w ,]+)</summary>\n", token.content)
            assert title is not None, token.content
            titles.append(title[1])
        is_open = not is_open
    assert not is_open
    return titles

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


# What GitHub finds in text of its own accord, whatever Markdown makes of it: mentions, mail, issues, links,
# emoji by name and by number.
_LIVE: Final = re.compile(
    r"@[a-z\d]|#\d|\bgh-\d|://|\bwww\.[a-z\d]|:(?:[+-]1|100|1234|[a-z][\w+-]*):", re.IGNORECASE
)
_NO_WIDTH: Final = "\u200b"


@dataclass(frozen=True)
class Rendered:
    """A document that has passed every rule."""

    tables: list[list[list[str]]]
    folded: list[str]
    diagrams: list[str]


def rendered(text: str) -> Rendered:
    """The document as GitHub would take it; fails where anything would fall out of its form."""
    tokens = parsed(text)
    _check_rows(text, tokens)
    _check_nobody_is_called(tokens)
    diagrams = [token.content for token in tokens if token.type == "fence" and token.info == "mermaid"]
    for diagram in diagrams:
        assert re.fullmatch(_DIAGRAM, diagram), diagram
    return Rendered(_tables(tokens), _folded(tokens), diagrams)


def parsed(text: str) -> list[Token]:
    """The blocks of a document."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def form(text: str) -> list[str]:
    """What a document is made of, block by block and within them, without its words."""
    return [kind for token in parsed(text) for kind in (token.type, *(c.type for c in token.children or ()))]


def visible(text: str) -> list[str]:
    """What is read of each paragraph, heading and cell."""
    blocks = [token.children or [] for token in parsed(text) if token.type == "inline"]
    return ["".join(child.content for child in block).replace(_NO_WIDTH, "") for block in blocks]


def _check_nobody_is_called(tokens: list[Token]) -> None:
    for child in (child for token in tokens for child in token.children or ()):
        assert child.type != "text" or not _LIVE.search(child.content), child.content


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

"""Sections as GitHub-flavoured Markdown that a comment can hold: what decides is seen, the rest folded."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from swapbench.report.blocks import Block, Cell, Diagram, Line, Lines, Section, Table, shown
from swapbench.report.layout import plain

# GitHub takes 65,536 characters in a comment.
MOST_BYTES: Final = 60_000

# What is said of what finds no room.
_ROOM_TO_SAY_SO: Final = 300

# An underscore within a word (update_tag) is plain text to Markdown already. Signs that stand alone begin a
# heading, an item of a list or a rule, and end a heading.
_SIGNS: Final = re.compile(
    r"[\\`*<>|~$&\[\]]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#(?=#*(?:\s|$))|^[-+](?=[-\s]|$)"
)

_NUMBERED: Final = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")

# What GitHub makes mentions, mail, issues, links and emoji of, much of it after Markdown and whatever is
# escaped: a space without width keeps it text. Times (10:15:30) are no emoji.
_LIVE: Final = re.compile(
    r"@(?=\w)|#(?=\d)|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)|:(?!\d\d?:)(?=[\w+-]{1,40}:)", re.IGNORECASE
)

_NO_WIDTH: Final = "\u200b"


def to_markdown(head: str, sections: Iterable[Section], elsewhere: str = "") -> str:
    """A whole report: as much of it as a comment holds, and what is left out by name.

    Args:
        head: what it begins with, Markdown already.
        elsewhere: where there is all of it.
    """
    text = f"{head.rstrip()}\n"
    left_out = []
    for section in shown(sections, "markdown"):
        if section.decides:
            made = f"{_body(section.blocks, section.title, '### ', '')}\n"
        else:
            # Markdown begins again after an empty line.
            body = _body(section.blocks, section.title, "**", "**")
            made = f"<details><summary>{section.title}</summary>\n\n{body}\n\n</details>\n"
        if not section.decides and len((text + made).encode()) > MOST_BYTES - _ROOM_TO_SAY_SO:
            left_out.append(section.title)
        else:
            text += f"\n{made}"
    if left_out:
        more = f"; {elsewhere}" if elsewhere else ""
        text += f"\nLeft out, for a comment holds no more: {', '.join(left_out)}{more}.\n"
    return text


def _body(blocks: Iterable[Block], above: str, before: str, after: str) -> str:
    """Each block under its title, which stands between `before` and `after`, if it isn't `above` already."""
    told: list[str] = []
    for block in blocks:
        title = "" if block.title in ("", above) else f"{before}{escape(block.title)}{after}"
        match block:
            case Table():
                told += _table(block, title)
            case Lines():
                told += _bullets(title, block.lines)
            case Diagram():
                told.append(f"```mermaid\n{block.text}\n```\n\n{escape(block.caption)}\n")
    return "\n".join(told).strip()


def _bullets(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if title:
        yield f"{title}\n"
    for line in lines:
        label = f"**{escape(line.label)}**: " if line.label else ""
        yield f"- {label}{escape(line.text)}"
        yield from (f"  - {escape(text)}" for text in line.below)
    yield ""


def _table(table: Table, title: str) -> Iterator[str]:
    if title:
        yield f"{title}\n"
    headings = [table.label, *(_heading(heading) for heading in table.columns)]
    yield _row(escape(heading) for heading in headings)
    yield _row("---" if table.prose or i == 0 else "---:" for i in range(len(headings)))
    for group in table.groups:
        yield from (_row(map(_cell, row)) for row in group)
    yield f"\n{escape(table.legend)}\n" if table.legend else ""


def _heading(lines: Sequence[str]) -> str:
    """A scenario's heading is its name and its two models; others are a few words."""
    name, *models = lines
    return f"{name}: {' '.join(models)}" if len(models) > 1 else " ".join(lines)


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = escape(cell.text.strip())
    text = f"**{text}**" if cell.tone in ("strong", "bad") and text else text
    share = f"\N{MIDDLE DOT} {cell.share}" if cell.share else ""
    return " ".join(part for part in (text, cell.spread, share, cell.mark) if part)


def escape(text: str) -> str:
    """Text as it is: nothing begins where a message happens to hold such a sign, and nobody is called."""
    still = _LIVE.sub(rf"\g<0>{_NO_WIDTH}", _words(text))
    escaped = _NUMBERED.sub(r"\1\\\2", _SIGNS.sub(r"\\\g<0>", still))
    return escaped.replace(_NO_WIDTH, "&#8203;")


def code(text: str) -> str:
    """Text to be copied, between more backquotes than it holds in a row."""
    words = _words(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    apart = " " if "`" in words else ""
    return f"{ticks}{apart}{words}{apart}{ticks}"


def _words(text: str) -> str:
    return " ".join(plain(text).split())

"""The commands that README.md and docs/ tell a reader to type."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK: Final = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"(?<!`)`(swapbench(?:\s[^`]+)?)`(?!`)")


@dataclass(frozen=True)
class Command:
    """One command, as it would be typed, less its comment and where its output goes."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in that language."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block["text"] for block in found if block["language"] == language]


def commands() -> list[Command]:
    """Every command of every `sh` block; one that stands on several pages comes once."""
    found = (command for page in PAGES for block in blocks(page, "sh") for command in _typed(page, block))
    return list({str(command): command for command in found}.values())


def _typed(page: Path, block: str) -> Iterator[Command]:
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            one, words = words[:end], words[end + 1 :]
            yield Command(page.name, tuple(one[: one.index(">")] if ">" in one else one))


def mentions() -> list[Command]:
    """What pages call `swapbench ...` in a sentence or table, less brackets and bars of a synopsis."""
    return [
        Command(page.name, tuple(re.split(r"[\s|]+", re.sub(r"[\[\]\\]|\.\.\.|…", "", said))))
        for page in PAGES
        for said in _INLINE.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    ]

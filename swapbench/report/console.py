"""A terminal that shows texts and obeys none: they come from libraries, servers and other people's files."""

import re
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# ESC and all its kin but tab and line feed; rich itself takes only a few of them out.
_CONTROL: Final = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")})
_PADDING: Final = re.compile(r" +$", re.MULTILINE)


def plain(text: str) -> str:
    """The text without the characters that a terminal would obey."""
    return text.translate(_CONTROL)


class PlainConsole(Console):
    """Takes whatever is printed as it stands: no markup, no emoji codes, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does; where nobody watches, without the blanks that fill its columns up."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as printed:
            super().print(*objects, **options)
        self.file.write(_PADDING.sub("", printed.get()))
        self.file.flush()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Its segments; rich's own control segments are left as they are."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)

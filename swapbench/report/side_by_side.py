"""Comparisons of runs in the forms that people and programs read."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console

from swapbench.compare.comparison import Comparison
from swapbench.report.comparison import parts
from swapbench.report.json_document import as_document
from swapbench.report.markdown import comparison_to_markdown
from swapbench.report.terminal import print_parts

# 1: first published form.
COMPARISON_VERSION: Final = 1


def to_json(comparisons: Sequence[Comparison]) -> str:
    """Everything, for programs."""
    facts = {"comparison_version": COMPARISON_VERSION, "comparisons": [asdict(c) for c in comparisons]}
    return as_document(facts)


def show_comparisons(comparisons: Sequence[Comparison], form: str, console: Console) -> None:
    """Write them to a console as `rich`, `md` or `json`; nothing else is written to it."""
    if form == "json":
        console.file.write(to_json(comparisons))
        return
    for n, comparison in enumerate(comparisons):
        if form == "md":
            console.file.write(("\n" if n else "") + comparison_to_markdown(comparison))
        else:
            title = f"{comparison.title}: {comparison.a.label} against {comparison.b.label}"
            print_parts(title, parts(comparison), console)

"""The report as one HTML file that needs nothing else: no network, no other file, not even JavaScript."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from swapbench import __version__
from swapbench.compare.comparison import Comparison
from swapbench.findings import Findings
from swapbench.findings.chart_data import Pictures, thinned
from swapbench.report.html import comparison_sections, run_sections
from swapbench.report.html.comparison_sections import SideView, side_name
from swapbench.report.html.downloads import MOST_BYTES, downloads
from swapbench.report.html.page import Block, Command, Download, Page, Section
from swapbench.report.html.rendering import render
from swapbench.report.side_by_side import to_json
from swapbench.report.tidy_csv import to_csv

_FINDINGS: Final = "findings.csv"
_COMPARISON: Final = "comparison.json"

__all__ = ["RunView", "comparison_to_html", "run_to_html"]


@dataclass(frozen=True)
class RunView:
    """A run as its page needs it; `files` are its own, by name."""

    findings: Findings
    pictures: Pictures
    files: Mapping[str, bytes]


def run_to_html(view: RunView, again: str) -> str:
    """A page about one run; `again` is the command that makes it."""
    (pictures,) = thinned([view.pictures])
    opening = run_sections.opening(view.findings)
    sections = run_sections.sections(view.findings, pictures, again)
    files = {_FINDINGS: _figures_csv(view), **view.files}

    def page(room: int) -> Page:
        return Page(opening, (*sections, run_sections.data(view.findings, files, room)), _made_by())

    return _light(page)


def comparison_to_html(comparisons: Sequence[Comparison], views: Sequence[RunView], again: str) -> str:
    """A page about runs side by side, then about each of them.

    Args:
        comparisons: of every other view with the first.
        views: one for each side: the first is A.
        again: the command that makes the page.
    """
    several = len(comparisons) > 1
    pictures = thinned([view.pictures for view in views])
    sides = [SideView(view.findings, drawn) for view, drawn in zip(views, pictures, strict=True)]
    sections: list[Section] = []
    for number, (comparison, other) in enumerate(zip(comparisons, sides[1:], strict=True)):
        prefix = f"c{number}-" if several else ""
        made = comparison_sections.sections(comparison, sides[0], other, side_name(number + 1), prefix)
        sections += [_named(section, comparison.b.label) for section in made] if several else made
    labels = [comparisons[0].a.label, *(comparison.b.label for comparison in comparisons)]
    folds = tuple(
        Block(
            "fold",
            title=_side_title(number, label),
            sections=run_sections.sections(side.findings, side.pictures, prefix=f"s{number}-"),
        )
        for number, (label, side) in enumerate(zip(labels, sides, strict=True))
    )
    sections.append(Section("sides", "Each side by itself", folds))
    sections.append(Section("again", "How to repeat it", (_commands(views, again),)))
    opening = comparison_sections.opening(comparisons)

    def page(room: int) -> Page:
        data = Section("files", "Data", (Block("downloads", downloads=_files(comparisons, views, room)),))
        return Page(opening, (*sections, data), _made_by())

    return _light(page)


def _light(page: Callable[[int], Page]) -> str:
    """The page, with so much data in it as its charts and tables leave room for."""
    without = len(render(page(0)).encode("utf-8"))
    return render(page(MOST_BYTES - without))


def _figures_csv(view: RunView) -> bytes:
    return to_csv(view.findings).encode("utf-8")


def _named(section: Section, label: str) -> Section:
    return replace(section, title=f"{section.title}: {label}")


def _side_title(number: int, label: str) -> str:
    name = side_name(number)
    return f"Side {name}" if label == name else f"Side {name}: {label}"


def _commands(views: Sequence[RunView], again: str) -> Block:
    """What measured, once where both sides were measured in one run; and what made this page."""
    measured = dict.fromkeys(view.pictures.command for view in views if view.pictures.command)
    says = "The command that made this run:" if len(measured) == 1 else "A command that made one of the runs:"
    commands = [Command(says, command) for command in measured]
    return Block("commands", commands=(*commands, Command("This report again:", again)))


def _files(comparisons: Sequence[Comparison], views: Sequence[RunView], room: int) -> tuple[Download, ...]:
    """Every figure of the page, then the files of each run; two arms are of one run, and have the same."""
    named = {_COMPARISON: to_json(comparisons).encode("utf-8")}
    named |= {f"{side_name(number)}-{_FINDINGS}": _figures_csv(view) for number, view in enumerate(views)}
    folders = {view.findings.facts.folder: view.files for view in views}
    for number, files in enumerate(folders.values()):
        side = f"{side_name(number)}-" if len(folders) > 1 else ""
        named |= {f"{side}{name}": data for name, data in files.items()}
    return downloads(named, " or ".join(folders), room)


def _made_by() -> str:
    return f"swapbench {__version__}"

"""The report as one HTML file that needs nothing else: no network, no other file, not even JavaScript."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from swapbench import __version__
from swapbench.analysis import Findings
from swapbench.analysis.comparison import Comparison
from swapbench.analysis.pictures import Pictures
from swapbench.report.html import comparison_sections, run_sections
from swapbench.report.html.comparison_sections import SideView, side_name
from swapbench.report.html.downloads import downloads
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
    return render(Page(run_sections.opening(view.findings), _sections(view, again), _made_by()))


def comparison_to_html(comparisons: Sequence[Comparison], views: Sequence[RunView], again: str) -> str:
    """A page about runs side by side, then about each of them.

    Args:
        comparisons: of every other view with the first.
        views: one for each side: the first is A.
        again: the command that makes the page.
    """
    several = len(comparisons) > 1
    sides = [SideView(view.findings, view.pictures) for view in views]
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
            sections=run_sections.sections(view.findings, view.pictures, {}, prefix=f"s{number}-"),
        )
        for number, (label, view) in enumerate(zip(labels, views, strict=True))
    )
    sections.append(Section("sides", "Each side by itself", folds))
    sections.append(Section("again", "How to repeat it", (_commands(views, again),)))
    sections.append(Section("files", "Data", (Block("downloads", downloads=_files(comparisons, views)),)))
    return render(Page(comparison_sections.opening(comparisons), tuple(sections), _made_by()))


def _sections(view: RunView, again: str) -> tuple[Section, ...]:
    files = {_FINDINGS: to_csv(view.findings).encode("utf-8"), **view.files}
    return run_sections.sections(view.findings, view.pictures, files, again)


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


def _files(comparisons: Sequence[Comparison], views: Sequence[RunView]) -> tuple[Download, ...]:
    """Every figure of the page, then the files of each run; two arms are of one run, and have the same."""
    named = {_COMPARISON: to_json(comparisons).encode("utf-8")}
    for number, view in enumerate(views):
        named[f"{side_name(number)}-{_FINDINGS}"] = to_csv(view.findings).encode("utf-8")
    folders = {view.findings.facts.folder: view.files for view in views}
    for number, files in enumerate(folders.values()):
        side = f"{side_name(number)}-" if len(folders) > 1 else ""
        named |= {f"{side}{name}": data for name, data in files.items()}
    return downloads(named, " or ".join(folders))


def _made_by() -> str:
    return f"swapbench {__version__}"

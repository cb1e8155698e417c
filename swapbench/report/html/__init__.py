"""The report as one HTML file that needs nothing else: no network, no other file, not even JavaScript."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swapbench import __version__
from swapbench.analysis import Findings
from swapbench.analysis.comparison import Comparison
from swapbench.analysis.pictures import Pictures
from swapbench.report.html import comparison_sections, run_sections
from swapbench.report.html.comparison_sections import SideView
from swapbench.report.html.page import Block, Page, Section
from swapbench.report.html.rendering import render
from swapbench.report.tidy_csv import to_csv

__all__ = ["RunView", "comparison_to_html", "run_to_html"]


@dataclass(frozen=True)
class RunView:
    """A run as its page needs it; `files` are its own, by name."""

    findings: Findings
    pictures: Pictures
    files: Mapping[str, bytes]


def run_to_html(view: RunView) -> str:
    """A page about one run."""
    return render(Page(run_sections.opening(view.findings), _sections(view, ""), _made_by()))


def comparison_to_html(comparisons: Sequence[Comparison], views: Sequence[RunView]) -> str:
    """A page about runs side by side, then about each of them.

    Args:
        comparisons: of every other view with the first.
        views: one for each side: the first is A.
    """
    several = len(comparisons) > 1
    sides = [SideView(view.findings, view.pictures) for view in views]
    sections: list[Section] = []
    for number, (comparison, other) in enumerate(zip(comparisons, sides[1:], strict=True)):
        prefix = f"c{number}-" if several else ""
        made = comparison_sections.sections(comparison, sides[0], other, prefix)
        sections += [_named(section, comparison.b.label) for section in made] if several else made
    labels = [comparisons[0].a.label, *(comparison.b.label for comparison in comparisons)]
    folds = tuple(
        Block("fold", title=_fold_title(number, label), sections=_sections(view, f"s{number}-"))
        for number, (label, view) in enumerate(zip(labels, views, strict=True))
    )
    sections.append(Section("sides", "Each side by itself", folds))
    return render(Page(comparison_sections.opening(comparisons), tuple(sections), _made_by()))


def _sections(view: RunView, prefix: str) -> tuple[Section, ...]:
    files = {"findings.csv": to_csv(view.findings).encode("utf-8"), **view.files}
    return run_sections.sections(view.findings, view.pictures, files, prefix)


def _named(section: Section, label: str) -> Section:
    return Section(section.id, f"{section.title}: {label}", section.blocks, section.lead)


def _fold_title(number: int, label: str) -> str:
    name = chr(ord("A") + number)
    return name if label == name else f"{name}: {label}"


def _made_by() -> str:
    return f"swapbench {__version__}"

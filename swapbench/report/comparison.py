"""Comparisons of runs in each form."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from swapbench.compare.comparison import Comparison
from swapbench.report.blocks import Commands, Downloads, Fold, Section, section
from swapbench.report.documents import comparisons_to_json, to_json
from swapbench.report.render.markdown import escape, to_markdown
from swapbench.report.render.terminal import heading, lines, print_blocks
from swapbench.report.sections.comparison import (
    ComparisonView,
    comparison_facts,
    comparison_opening,
    comparison_sections,
    comparison_verdict,
    side_name,
    verdict_word,
)
from swapbench.report.sections.run import run_sections
from swapbench.report.sections.view import RunView
from swapbench.report.text import short

_LONGEST_WORDS = 300
_LONGEST_VERDICT = 2_000


def show_comparisons(comparisons: Sequence[Comparison], form: str, console: Console) -> None:
    """Write them to a console as `rich`, `md` or `json`; nothing else is written to it."""
    if form == "json":
        console.file.write(comparisons_to_json(comparisons))
        return
    for n, comparison in enumerate(comparisons):
        if form == "md":
            console.file.write(("\n" if n else "") + comparison_to_markdown(comparison))
            continue
        console.print(heading(_title(comparison)))
        console.print(heading("Verdict"))
        console.print(lines([comparison_verdict(comparison)]))
        console.print()
        console.print(lines(comparison_facts(comparison)))
        print_blocks(comparison_sections(ComparisonView(comparison)), console)


def comparison_to_markdown(comparison: Comparison) -> str:
    """Two sides as GitHub-flavoured Markdown that a comment can hold."""
    sides = (comparison.a, comparison.b)
    told = short(comparison_verdict(comparison).text, _LONGEST_VERDICT)
    models = dict.fromkeys(f"{', '.join(side.sources)}: {side.source_says}" for side in sides)
    about = short(f"{' against '.join(models)}. {comparison.a.machine}.", _LONGEST_WORDS)
    head = (
        f"## {escape(short(_title(comparison), _LONGEST_WORDS))}\n\n"
        f"**{verdict_word(comparison)}: {escape(told)}**\n\n{escape(about)}\n"
    )
    return to_markdown(head, comparison_sections(ComparisonView(comparison)))


def _title(comparison: Comparison) -> str:
    return f"{comparison.title}: {comparison.a.label} against {comparison.b.label}"


def comparison_to_html(comparisons: Sequence[Comparison], views: Sequence[RunView], again: str) -> str:
    """A page about runs side by side, then about each of them.

    Args:
        comparisons: of every other view with the first.
        views: one for each side: the first is A.
        again: the command that makes the page.
    """
    from swapbench.findings.chart_data import thinned
    from swapbench.report.render.html import prefixed, to_html

    pictures = thinned([view.pictures for view in views])
    sides = [replace(view, pictures=drawn) for view, drawn in zip(views, pictures, strict=True)]
    several = len(comparisons) > 1
    sections: list[Section] = []
    for number, (comparison, other) in enumerate(zip(comparisons, sides[1:], strict=True)):
        made = comparison_sections(ComparisonView(comparison, side_name(number + 1), sides[0], other))
        if several:
            titled = (replace(one, title=f"{one.title}: {comparison.b.label}") for one in made)
            made = prefixed(titled, f"c{number}-")
        sections += made
    labels = [comparisons[0].a.label, *(comparison.b.label for comparison in comparisons)]
    folds = (
        Fold(
            _side_title(number, label),
            # The page has the files of all sides at its end.
            prefixed(run_sections(replace(side, files={})), f"s{number}-"),
        )
        for number, (label, side) in enumerate(zip(labels, sides, strict=True))
    )
    sections += [
        section("sides", "Each side by itself", *folds),
        section("again", "How to repeat it", _commands(views, again)),
        section("files", "Data", _downloads(comparisons, views)),
    ]
    return to_html(comparison_opening(comparisons), sections)


def _side_title(number: int, label: str) -> str:
    name = side_name(number)
    return f"Side {name}" if label == name else f"Side {name}: {label}"


def _commands(views: Sequence[RunView], again: str) -> Commands:
    """What measured, once where both sides were measured in one run; and what made this page."""
    measured = dict.fromkeys(view.pictures.command for view in views if view.pictures.command)
    says = "The command that made this run:" if len(measured) == 1 else "A command that made one of the runs:"
    return Commands((*((says, command) for command in measured), ("This report again:", again)))


def _downloads(comparisons: Sequence[Comparison], views: Sequence[RunView]) -> Downloads:
    """Every figure of the page, then the files of each run; two arms are of one run, and have the same."""
    named = {"comparison.json": comparisons_to_json(comparisons).encode()}
    for number, view in enumerate(views):
        named[f"{side_name(number)}-findings.json"] = to_json(view.findings).encode()
    folders = {view.findings.facts.folder: view.files for view in views}
    for number, files in enumerate(folders.values()):
        side = f"{side_name(number)}-" if len(folders) > 1 else ""
        named |= {f"{side}{name}": data for name, data in files.items()}
    return Downloads(named, " or ".join(folders))

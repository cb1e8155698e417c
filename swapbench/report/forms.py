"""Runs, comparisons and histories in each form: at a terminal, as Markdown, as a page, as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.text import Text

from swapbench.base.figures import counted
from swapbench.findings import Findings
from swapbench.report.blocks import Commands, Downloads, Fold, Section, Table
from swapbench.report.layout import section, short
from swapbench.report.render import as_document
from swapbench.report.render.terminal import STYLES, fits, heading, lines, print_blocks
from swapbench.report.sections import RunView, source
from swapbench.report.sections.overview import verdict_line
from swapbench.report.sections.run import run_facts, run_opening, run_sections

if TYPE_CHECKING:
    from swapbench.compare.comparison import Comparison
    from swapbench.compare.history import Past

# 1: first published form, each.
FINDINGS_VERSION: Final = 1
COMPARISON_VERSION: Final = 1
HISTORY_VERSION: Final = 1

_SOURCE_STYLES: Final = {
    "mini": "black on yellow",
    "synthetic": "black on cyan",
    "hub": "black on green",
    "local": "black on green",
}

# What people wrote, and what machines call themselves, can be of any length.
_LONGEST_WORDS: Final = 300
_LONGEST_VERDICT: Final = 2_000

# Of the line that shows a figure from run to run.
_WIDEST, _NARROWEST = 72, 8


def show(findings: Findings, form: str, console: Console) -> None:
    """Write the findings to a console as `rich`, `md` or `json`; nothing else is written to it."""
    if form == "rich":
        print_report(findings, console)
        return
    console.file.write(to_markdown(findings) if form == "md" else to_json(findings))
    console.file.flush()


def to_json(findings: Findings) -> str:
    """Every finding under the names of docs/results.md; null where there is no figure, or no bound."""
    return as_document({"findings_version": FINDINGS_VERSION, **asdict(findings)})


def print_report(findings: Findings, console: Console) -> None:
    """Print the findings on a console of any width."""
    run = findings.facts
    label = (f" {source(run)} ", _SOURCE_STYLES.get(", ".join(run.sources), "reverse"))
    opening = [heading(run.title), Text.assemble(label, f"  {run.source_says}")]
    if run.transcribed_from:
        opening.append(Text(f"transcribed from {run.transcribed_from}", style="yellow"))
    below = []
    if run.incomplete:
        below.append(Text(f"\nThis run is not complete: {run.incomplete}.", style="bold yellow"))
        if run.resume_command:
            below.append(Text(f"Resume with: {run.resume_command}", style="yellow"))
    verdict = verdict_line(findings, headlines=False)
    below.append(Text(f"\n{verdict.label}: {verdict.text}", style=STYLES[verdict.tone]))
    console.print(Group(*opening, lines(run_facts(findings)), *below))
    print_blocks(run_sections(RunView(findings)), console)


def to_markdown(findings: Findings) -> str:
    """The findings as GitHub-flavoured Markdown that a comment can hold, whatever the run."""
    from swapbench.report.render import markdown

    return markdown.to_markdown("\n".join(_head(findings)), run_sections(RunView(findings)))


def _head(findings: Findings) -> Iterator[str]:
    """Verdict, and what it is about: a figure is never without its models."""
    from swapbench.report.render.markdown import code, escape

    run, verdict = findings.facts, verdict_line(findings)
    yield f"## {escape(short(run.title, _LONGEST_WORDS))}\n"
    yield f"**{verdict.label}: {escape(short(verdict.text, _LONGEST_VERDICT))}**\n"
    swaps = f"{counted(run.rounds, 'round')}, {counted(findings.counts.counted, 'swap')} counted"
    about = f"{source(run)}: {run.source_says}. {short(run.machine, _LONGEST_WORDS)}; {swaps}."
    yield f"{escape(about)}\n"
    if run.transcribed_from:
        yield f"Transcribed from {escape(short(run.transcribed_from, _LONGEST_WORDS))}\n"
    if run.incomplete:
        yield f"> **This run is not complete:** {escape(short(run.incomplete, _LONGEST_WORDS))}.  "
        yield f"> Resume with {code(run.resume_command)}\n" if run.resume_command else ""


def run_to_html(view: RunView, again: str = "") -> str:
    """A page about one run; `again` is the command that makes it."""
    from swapbench.findings.chart_data import thinned
    from swapbench.report.render.html import to_html

    (pictures,) = thinned([view.pictures])
    files = {"findings.json": to_json(view.findings).encode(), **view.files} if view.files else {}
    shown = replace(view, pictures=pictures, files=files, again=again)
    return to_html(run_opening(view.findings), run_sections(shown))


def show_comparisons(comparisons: "Sequence[Comparison]", form: str, console: Console) -> None:
    """Write them to a console as `rich`, `md` or `json`; nothing else is written to it."""
    from swapbench.report.sections import comparison as sections

    if form == "json":
        console.file.write(comparisons_to_json(comparisons))
        return
    for n, comparison in enumerate(comparisons):
        if form == "md":
            console.file.write(("\n" if n else "") + comparison_to_markdown(comparison))
            continue
        console.print(heading(_title(comparison)))
        console.print(heading("Verdict"))
        console.print(lines([sections.comparison_verdict(comparison)]))
        console.print()
        console.print(lines(sections.comparison_facts(comparison)))
        print_blocks(sections.comparison_sections(sections.ComparisonView(comparison)), console)


def comparisons_to_json(comparisons: "Sequence[Comparison]") -> str:
    """Everything, for programs."""
    compared = [asdict(comparison) for comparison in comparisons]
    return as_document({"comparison_version": COMPARISON_VERSION, "comparisons": compared})


def comparison_to_markdown(comparison: "Comparison") -> str:
    """Two sides as GitHub-flavoured Markdown that a comment can hold."""
    from swapbench.report.render.markdown import escape
    from swapbench.report.render.markdown import to_markdown as render
    from swapbench.report.sections import comparison as sections

    told = short(sections.comparison_verdict(comparison).text, _LONGEST_VERDICT)
    about = short(f"{sections.models_of(comparison)}. {comparison.a.machine}.", _LONGEST_WORDS)
    head = (
        f"## {escape(short(_title(comparison), _LONGEST_WORDS))}\n\n"
        f"**{sections.verdict_word(comparison)}: {escape(told)}**\n\n{escape(about)}\n"
    )
    return render(head, sections.comparison_sections(sections.ComparisonView(comparison)))


def _title(comparison: "Comparison") -> str:
    return f"{comparison.title}: {comparison.a.label} against {comparison.b.label}"


def comparison_to_html(comparisons: "Sequence[Comparison]", views: Sequence[RunView], again: str) -> str:
    """A page about runs side by side, then about each of them.

    Args:
        comparisons: of every other view with the first.
        views: one for each side: the first is A.
        again: the command that makes the page.
    """
    from swapbench.findings.chart_data import thinned
    from swapbench.report.render.html import prefixed, to_html
    from swapbench.report.sections.comparison import (
        ComparisonView,
        comparison_opening,
        comparison_sections,
        side_name,
    )

    pictures = thinned([view.pictures for view in views])
    # The page has the files of all sides at its end.
    sides = [replace(view, pictures=drawn, files={}) for view, drawn in zip(views, pictures, strict=True)]
    sections: list[Section] = []
    for number, (comparison, other) in enumerate(zip(comparisons, sides[1:], strict=True)):
        made = comparison_sections(ComparisonView(comparison, side_name(number + 1), sides[0], other))
        if len(comparisons) > 1:
            titled = (replace(one, title=f"{one.title}: {comparison.b.label}") for one in made)
            made = prefixed(titled, f"c{number}-")
        sections += made
    folds = []
    for number, side in enumerate(sides):
        name = side_name(number)
        label = comparisons[number - 1].b.label if number else comparisons[0].a.label
        title = f"Side {name}" if label == name else f"Side {name}: {label}"
        folds.append(Fold(title, prefixed(run_sections(side), f"s{number}-")))
    # What measured, once where both sides were measured in one run; and what made this page.
    measured = dict.fromkeys(view.pictures.command for view in views if view.pictures.command)
    says = "The command that made this run:" if len(measured) == 1 else "A command that made one of the runs:"
    commands = (*((says, command) for command in measured), ("This report again:", again))
    # Every figure of the page, then the files of each run; two arms are of one run, and have the same.
    files = {"comparison.json": comparisons_to_json(comparisons).encode()}
    for number, view in enumerate(views):
        files[f"{side_name(number)}-findings.json"] = to_json(view.findings).encode()
    folders = {view.findings.facts.folder: view.files for view in views}
    for number, its in enumerate(folders.values()):
        side_of = f"{side_name(number)}-" if len(folders) > 1 else ""
        files |= {f"{side_of}{name}": data for name, data in its.items()}
    sections += [
        section("sides", "Each side by itself", *folds),
        section("again", "How to repeat it", Commands(commands)),
        section("files", "Data", Downloads(files, " or ".join(folders))),
    ]
    return to_html(comparison_opening(comparisons), sections)


def print_history(past: "Past", console: Console) -> None:
    """Each part with as much room for its lines as the console has."""
    from swapbench.report.sections.history import history_section

    for _, group in groupby(past.series, key=lambda series: series.setting):
        series = list(group)
        for room in (*range(_WIDEST, _NARROWEST, -2), _NARROWEST):
            made = history_section(series, room)
            if room == _NARROWEST or all(fits(b, console) for b in made.blocks if isinstance(b, Table)):
                print_blocks([made], console)
                break


def history_to_json(past: "Past") -> str:
    """One document, documented in docs/history.md."""
    left_out = [{"folder": str(run.folder), "why": run.why} for run in past.left_out]
    return as_document({"history_version": HISTORY_VERSION, **asdict(past), "left_out": left_out})


def left_out(past: "Past") -> Iterator[str]:
    """A line for each reason why runs are left out, most frequent first."""
    reasons: dict[str, list[str]] = {}
    for run in past.left_out:
        why = run.why.removeprefix(f"{run.folder}/")
        reasons.setdefault(why, []).append(str(run.folder))
    for why, folders in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        others = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        yield f"left out: {folders[0]}{others}: {why}"

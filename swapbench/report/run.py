"""A run's report in each form."""

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console, Group
from rich.text import Text

from swapbench.base.figures import counted
from swapbench.findings import Findings
from swapbench.report.documents import to_json
from swapbench.report.render.terminal import STYLES, heading, lines, print_blocks
from swapbench.report.sections.overview import verdict_line
from swapbench.report.sections.run import run_facts, run_opening, run_sections
from swapbench.report.sections.view import RunView, source
from swapbench.report.text import short

_SOURCE_STYLES = {
    "mini": "black on yellow",
    "synthetic": "black on cyan",
    "hub": "black on green",
    "local": "black on green",
}

# What people wrote, and what machines call themselves, can be of any length.
_LONGEST_WORDS = 300
_LONGEST_VERDICT = 2_000


def show(findings: Findings, form: str, console: Console) -> None:
    """Write the findings to a console as `rich`, `md` or `json`; nothing else is written to it."""
    if form == "rich":
        print_report(findings, console)
        return
    console.file.write(to_markdown(findings) if form == "md" else to_json(findings))
    console.file.flush()


def print_report(findings: Findings, console: Console) -> None:
    """Print the findings on a console of any width."""
    run = findings.facts
    opening = [
        heading(run.title),
        Text.assemble(
            (f" {source(run)} ", _SOURCE_STYLES.get(", ".join(run.sources), "reverse")),
            f"  {run.source_says}",
        ),
    ]
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
    return to_html(run_opening(view.findings), run_sections(replace(view, pictures=pictures, again=again)))

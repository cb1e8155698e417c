"""The report as Markdown, for pull requests and notebooks: what decides is seen, what explains it folded."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from swapbench.base import figures
from swapbench.compare.comparison import Comparison
from swapbench.findings import Findings
from swapbench.report import comparison as compared
from swapbench.report import evidence, ladder, tables, within
from swapbench.report.console import plain
from swapbench.report.gantt import CAPTION, gantt, gantt_of_sides
from swapbench.report.overview import overview, verdict_line
from swapbench.report.shapes import Cell, Line, Part, Table, short

# GitHub takes 65,536 characters in a comment.
MOST_CHARACTERS: Final = 60_000

# What people wrote, and what machines call themselves, can be of any length.
_LONGEST_WORDS: Final = 300
_LONGEST_VERDICT: Final = 2_000

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


# A title, and what is folded under it.
_Folded = tuple[str, Sequence[Part]]


def to_markdown(findings: Findings) -> str:
    """The findings as GitHub-flavoured Markdown that a comment can hold, whatever the run."""
    return _with_folds(_seen(findings), _folded(findings))


def comparison_to_markdown(comparison: Comparison) -> str:
    """Two sides as GitHub-flavoured Markdown that a comment can hold."""
    return _with_folds(_seen_of_sides(comparison), compared.explained(comparison))


def _with_folds(seen: Iterable[str], folded: Iterable[_Folded]) -> str:
    """What decides, and under it as much of what explains it as a comment holds."""
    text = "\n".join(seen).rstrip() + "\n"
    left_out = []
    for title, parts in folded:
        section = _details(title, parts)
        if not section:
            continue
        if len(text) + len(section) > MOST_CHARACTERS - _LONGEST_WORDS:
            left_out.append(title)
        else:
            text += f"\n{section}"
    if left_out:
        text += f"\nLeft out, for a comment holds no more: {', '.join(left_out)}.\n"
    return text


def parts_to_markdown(title: str, parts: Sequence[Part]) -> str:
    """A report that was put together elsewhere, as GitHub-flavoured Markdown."""
    lines = [f"## {_escape(title)}\n"] if title else []
    for part in parts:
        lines.extend(_bullets(f"### {_escape(part.title)}" if part.title else "", part.lines))
        lines.extend(_table(part.table, "### "))
    return "\n".join(lines).rstrip() + "\n"


def _seen(findings: Findings) -> Iterator[str]:
    """Verdict, what it is about, one table, one picture."""
    run = findings.facts
    verdict = verdict_line(findings)
    yield f"## {_escape(short(run.title, _LONGEST_WORDS))}\n"
    yield f"**{verdict.label}: {_escape(short(verdict.text, _LONGEST_VERDICT))}**\n"
    yield f"{_escape(_about(findings))}\n"
    if run.transcribed_from:
        yield f"Transcribed from {_escape(short(run.transcribed_from, _LONGEST_WORDS))}\n"
    if run.incomplete:
        yield f"> **This run is not complete:** {_escape(short(run.incomplete, _LONGEST_WORDS))}.  "
        yield f"> Go on with {_code(run.resume_command)}\n" if run.resume_command else ""
    yield from _table(_shortened(overview(findings)))
    diagram = gantt(findings)
    if diagram:
        yield f"```mermaid\n{diagram}\n```\n\n{_escape(CAPTION)}\n"


def _seen_of_sides(comparison: Comparison) -> Iterator[str]:
    """Verdict, what it is about, one table, one picture."""
    sides = f"{comparison.a.label} against {comparison.b.label}"
    yield f"## {_escape(short(f'{comparison.title}: {sides}', _LONGEST_WORDS))}\n"
    told = short(compared.verdict_line(comparison).text, _LONGEST_VERDICT)
    yield f"**{compared.verdict_word(comparison)}: {_escape(told)}**\n"
    models = dict.fromkeys(f"{', '.join(s.sources)}: {s.source_says}" for s in (comparison.a, comparison.b))
    about = f"{' against '.join(models)}. {comparison.a.machine}."
    yield f"{_escape(short(about, _LONGEST_WORDS))}\n"
    if comparison.scenarios:
        yield from _table(replace(compared.headlines(comparison), title=""))
    diagram = gantt_of_sides(comparison)
    if diagram:
        yield f"```mermaid\n{diagram}\n```\n\n{_escape(CAPTION)}\n"


def _about(findings: Findings) -> str:
    """Which models: a figure is never without them; on what, and how many swaps it comes from."""
    run = findings.facts
    kind = "" if run.sources == ("scripted",) else " models"
    swaps = (
        f"{figures.counted(run.rounds, 'round')}, {figures.counted(findings.counts.counted, 'swap')} counted"
    )
    return (
        f"{', '.join(run.sources)}{kind}: {run.source_says}. {short(run.machine, _LONGEST_WORDS)}; {swaps}."
    )


def _folded(findings: Findings) -> Iterator[_Folded]:
    """What explains it, the most telling first: where room is short, what is last goes first."""
    yield "Criteria", (Part("", table=tables.criteria(findings)),)
    yield _compared(findings) if findings.ladders else _phases(findings)
    left_out = Part("Swaps left out", lines=evidence.problems(findings))
    yield "Failed, refused and invalid swaps", (Part("", table=evidence.failures(findings)), left_out)
    yield "Symptoms of known faults", (Part("", lines=evidence.symptoms(findings)),)
    yield "Notes", (Part("", lines=tuple(Line("", note) for note in findings.notes)),)
    yield "Run", (Part("", lines=tables.facts(findings)),)
    outliers = Part("Outliers, kept in every figure", lines=within.outliers(findings))
    yield "Within the run", (Part("", lines=within.within(findings)), outliers)
    if not findings.ladders:
        yield from _of_one_strategy(findings)
    yield "Restored caches", (Part("", lines=evidence.restores(findings)),)


def _compared(findings: Findings) -> _Folded:
    """Several strategies: side by side, scenario by scenario."""
    told = (*ladder.manual(findings), *ladder.one_strategy(findings))
    return "Strategies", (
        *(Part("", table=table) for table in ladder.ladders(findings)),
        Part("", lines=told),
    )


def _phases(findings: Findings) -> _Folded:
    return "Phases", (
        Part("Headline", lines=tables.headlines(findings)),
        Part("", table=tables.phases(findings, findings.scenarios)),
        Part("Bottleneck", lines=tables.bottlenecks(findings)),
    )


def _of_one_strategy(findings: Findings) -> Iterator[_Folded]:
    """What it took of the machine."""
    memory = (
        Part("", table=tables.memory(findings)),
        Part("Release", lines=evidence.releases(findings)),
        Part("Leaks", lines=tables.leaks(findings)),
    )
    yield "Memory and leaks", memory
    yield "Clients", (Part("", table=evidence.clients(findings)),)
    yield "Ranks", (Part("", table=evidence.sharing(findings)),)
    yield "Limits", (Part("", table=evidence.limits(findings)),)
    yield "Work", (Part("", table=tables.work(findings.scenarios)),)


def _details(title: str, parts: Iterable[Part]) -> str:
    """Folded under a title; empty where there is nothing. Markdown begins again after an empty line."""
    lines = [
        line
        for part in parts
        for line in (
            *_bullets(f"**{_escape(part.title)}**" if part.title else "", part.lines),
            *_table(_titled_otherwise(part.table, title), "**", "**"),
        )
    ]
    body = "\n".join(lines).strip()
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n" if body else ""


def _titled_otherwise(table: Table | None, title: str) -> Table | None:
    """The table, without a title that stands above it already."""
    return replace(table, title="") if table is not None and table.title == title else table


def _shortened(table: Table) -> Table:
    """With no label longer than a line or two."""
    rows = tuple(
        tuple((replace(row[0], text=short(row[0].text, _LONGEST_WORDS)), *row[1:]) for row in group)
        for group in table.groups
    )
    return replace(table, groups=rows)


def _bullets(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    if title:
        yield f"{title}\n"
    for line in lines:
        label = f"**{_escape(line.label)}**: " if line.label else ""
        yield f"- {label}{_escape(line.text)}"
        yield from (f"  - {_escape(text)}" for text in line.below)
    yield ""


def _table(table: Table | None, before: str = "", after: str = "") -> Iterator[str]:
    """A table under its title, which stands between `before` and `after`."""
    if table is None:
        return
    if table.title:
        yield f"{before}{_escape(table.title)}{after}\n"
    headings = [table.label, *(_heading(heading) for heading in table.columns)]
    yield _row(_escape(heading) for heading in headings)
    yield _row("---" if table.prose or i == 0 else "---:" for i in range(len(headings)))
    for group in table.groups:
        yield from (_row(map(_cell, row)) for row in group)
    yield f"\n{_escape(table.legend)}\n" if table.legend else ""


def _heading(lines: Sequence[str]) -> str:
    """A scenario's heading is its name and its two models; others are a few words."""
    name, *models = lines
    return f"{name}: {' '.join(models)}" if len(models) > 1 else " ".join(lines)


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = _escape(cell.text.strip())
    text = f"**{text}**" if cell.tone in ("strong", "bad") and text else text
    share = f"\N{MIDDLE DOT} {cell.share}" if cell.share else ""
    return " ".join(part for part in (text, cell.spread, share, cell.mark) if part)


def _escape(text: str) -> str:
    """Text as it is: nothing begins where a message happens to hold such a sign, and nobody is called."""
    still = _LIVE.sub(rf"\g<0>{_NO_WIDTH}", _words(text))
    escaped = _NUMBERED.sub(r"\1\\\2", _SIGNS.sub(r"\\\g<0>", still))
    return escaped.replace(_NO_WIDTH, "&#8203;")


def _code(text: str) -> str:
    """Text to be copied, between more backquotes than it holds in a row."""
    words = _words(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    apart = " " if "`" in words else ""
    return f"{ticks}{apart}{words}{apart}{ticks}"


def _words(text: str) -> str:
    return " ".join(plain(text).split())

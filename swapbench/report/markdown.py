"""The report as Markdown, for pull requests and notebooks."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from swapbench.analysis import Findings
from swapbench.report import evidence, ladder, tables, within
from swapbench.report.shapes import Cell, Line, Part, Table

# An underscore within a word (update_tag) is plain text to Markdown already.
_SIGNS: Final = re.compile(r"[\\`*<>|\[\]]|(?<!\w)_|_(?!\w)")


def to_markdown(findings: Findings) -> str:
    """The findings as GitHub-flavoured Markdown."""
    return "\n".join(_parts(findings)).rstrip() + "\n"


def parts_to_markdown(title: str, parts: Sequence[Part]) -> str:
    """A report that was put together elsewhere, as GitHub-flavoured Markdown."""
    lines = [f"## {_escape(title)}\n"] if title else []
    for part in parts:
        lines.extend(_bullets(part.title, part.lines))
        lines.extend(_table(part.table))
    return "\n".join(lines).rstrip() + "\n"


def _parts(findings: Findings) -> Iterator[str]:
    run = findings.facts
    yield f"## {_escape(run.title)}\n"
    yield f"**Models: {', '.join(run.sources)}** ({_escape(run.source_says)})\n"
    if run.transcribed_from:
        yield f"Transcribed from {_escape(run.transcribed_from)}\n"
    if run.incomplete:
        yield f"> **This run is not complete:** {_escape(run.incomplete)}.  "
        yield f"> Go on with `{run.resume_command}`\n"
    if not findings.ladders:
        yield from _bullets("", tables.headlines(findings))
    yield from _table(tables.criteria(findings))
    if findings.ladders:
        for table in ladder.ladders(findings):
            yield from _table(table)
        yield from _within(findings)
        yield from _bullets("Strategies", (*ladder.manual(findings), *ladder.one_strategy(findings)))
    else:
        yield from _measured(findings)
    yield from _bullets("Restored caches", evidence.restores(findings))
    yield from _bullets("Symptoms of known faults", evidence.symptoms(findings))
    yield from _table(evidence.failures(findings))
    yield from _bullets("Swaps left out", evidence.problems(findings))
    yield from _bullets("Notes", tuple(Line("", note) for note in findings.notes))
    yield from _bullets("Run", tables.facts(findings))


def _measured(findings: Findings) -> Iterator[str]:
    """One strategy: phase by phase, then what it took of the machine."""
    yield from _table(tables.phases(findings, findings.scenarios))
    yield from _bullets("Bottleneck", tables.bottlenecks(findings))
    yield from _within(findings)
    yield from _table(tables.work(findings.scenarios))
    yield from _table(evidence.clients(findings))
    yield from _table(evidence.sharing(findings))
    yield from _table(evidence.limits(findings))
    yield from _table(tables.memory(findings))
    yield from _bullets("Release", evidence.releases(findings))
    yield from _bullets("Leaks", tables.leaks(findings))


def _within(findings: Findings) -> Iterator[str]:
    yield from _bullets("Within the run", within.within(findings))
    yield from _bullets("Outliers, kept in every figure", within.outliers(findings))


def _bullets(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    if title:
        yield f"### {title}\n"
    for line in lines:
        label = f"**{_escape(line.label)}**: " if line.label else ""
        yield f"- {label}{_escape(line.text)}"
        yield from (f"  - {_escape(text)}" for text in line.below)
    yield ""


def _table(table: Table | None) -> Iterator[str]:
    if table is None:
        return
    yield f"### {_escape(table.title)}\n"
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
    """Text as it is: no cell, emphasis, code or tag begins where a message happens to hold such a sign."""
    return " ".join(_SIGNS.sub(r"\\\g<0>", text).split())

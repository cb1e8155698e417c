"""The gate's judgement, put together for terminal and Markdown; and written into a folder in every form."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import join
from typing import Final

from swapbench.base import figures as f
from swapbench.base.files import write_atomically
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.comparison import Comparison
from swapbench.compare.gate import FailedSwap, Gate, GatedScenario, GateOutcome
from swapbench.report import comparison as compared
from swapbench.report.json_document import as_document
from swapbench.report.junit import to_junit
from swapbench.report.markdown import MOST_CHARACTERS, parts_to_markdown
from swapbench.report.shapes import Cell, Line, Part, Table, Tone
from swapbench.report.tables import served_by

# 1: first published form.
GATE_VERSION: Final = 1

# By which a workflow finds its own comment again.
MARKER: Final = "<!-- swapbench-gate -->"

# Enough to see what is going on; gate.json has them all.
_MOST_LINES: Final = 20

# What columns are headed by: a gate's sides are never called A and B.
_SIDES: Final = ("base", "change", "ratio")

_TONES: Final[dict[GateOutcome, Tone]] = {
    GateOutcome.NOT_JUDGED: "quiet",
    GateOutcome.PASS: "good",
    GateOutcome.INCONCLUSIVE: "doubt",
    GateOutcome.NOT_CONFIRMED: "doubt",
    GateOutcome.LEAK: "bad",
    GateOutcome.REGRESSION: "bad",
    GateOutcome.FAILED: "bad",
}


def title(gate: Gate) -> str:
    """What a report of it is headed by."""
    return f"swapbench gate: {gate.outcome}"


def essence(gate: Gate) -> tuple[Part, ...]:
    """What decides: read first, and never left out."""
    listed = (
        Part("", lines=_facts(gate)),
        Part("", table=_scenarios(gate)),
        Part("Why", lines=_reasons(gate)),
        Part("Leaks", lines=_leaks(gate)),
        Part("Failed swaps", lines=_failures(gate)),
        Part("Notes", lines=tuple(Line("", note) for note in gate.notes)),
    )
    return tuple(part for part in listed if part.lines or part.table)


def details(gate: Gate) -> tuple[Part, ...]:
    """What explains it: phases and memory, with intervals and without verdicts."""
    return (
        *_explained(gate.comparison, ""),
        *_explained(gate.confirmation, ", measured again"),
        *(Part("What differs", lines=lines) for lines in [_differences(gate)] if lines),
        Part("Repeat it", lines=_repeat(gate)),
    )


def _explained(found: Comparison | None, which: str) -> Iterator[Part]:
    if found is not None:
        for table in (
            compared.phases(found, _SIDES, verdicts=False),
            compared.memory(found, _SIDES, verdicts=False),
        ):
            if table is not None:
                yield Part("", table=replace(table, title=f"{table.title}{which}"))


def to_markdown(gate: Gate) -> str:
    """For a pull request: what decides, and the rest folded; under the size that GitHub takes."""
    head = f"{MARKER}\n{parts_to_markdown(title(gate), essence(gate))}"
    return f"{head}\n{_folded(details(gate), MOST_CHARACTERS - len(head.encode()))}"


def _folded(parts: Sequence[Part], room: int) -> str:
    """As many of the parts as there is room for, in bytes; what is left out is said."""
    kept: list[str] = []
    left_out = ""
    for part in parts:
        text = parts_to_markdown("", [part])
        if len(text.encode()) < room:
            kept.append(text)
            room -= len(text.encode()) + 1
        else:
            left_out = "There is more than a comment can hold: gate.json has it all.\n"
    body = "\n".join([*kept, *filter(None, [left_out])])
    return f"<details><summary>Phases, memory, what differs</summary>\n\n{body}\n</details>\n"


def to_json(gate: Gate) -> str:
    """Everything, for programs."""
    return as_document({"gate_version": GATE_VERSION, **asdict(gate)})


def write_reports(gate: Gate, folder: Path) -> None:
    """gate.json, gate.md and gate.xml (JUnit) into a folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "gate.json", to_json(gate))
    write_atomically(folder / "gate.md", to_markdown(gate))
    write_atomically(folder / "gate.xml", to_junit(gate))


def annotations(gate: Gate) -> Iterator[str]:
    """GitHub's workflow commands, one for whatever is not as it should be, or one that all is."""
    for scenario in gate.scenarios:
        if scenario.outcome is not GateOutcome.PASS:
            yield _annotation(scenario.outcome, scenario.scenario, scenario.reason)
    for ledger in gate.ledgers:
        if ledger.outcome not in (GateOutcome.PASS, GateOutcome.NOT_JUDGED):
            yield _annotation(ledger.outcome, LEDGER_LABELS[ledger.ledger], ledger.reason)
    for failure in gate.failures:
        yield _annotation(GateOutcome.FAILED, failure.scenario or "run", _failure(failure))
    if gate.outcome is GateOutcome.PASS:
        yield "::notice title=swapbench pass::" + _escaped(f"{gate.experiment}: {_sentence(gate)}")


def _annotation(outcome: GateOutcome, where: str, reason: str) -> str:
    level = "error" if _TONES[outcome] == "bad" else "warning"
    title_ = _escaped(f"swapbench {outcome}: {where}").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title_}::{_escaped(reason)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _facts(gate: Gate) -> tuple[Line, ...]:
    scripted = gate.facts.target == "scripted"
    source = ", ".join(gate.facts.sources) + ("" if scripted else " models")
    return (
        Line("", _sentence(gate), _TONES[gate.outcome]),
        Line("experiment", f"{gate.title} ({source}; {gate.facts.source_says})"),
        Line("change", gate.change),
        Line("against", gate.against),
        Line("machine", gate.facts.machine + ("" if scripted else served_by(gate.facts))),
        Line("page cache", gate.facts.page_cache),
    )


def _sentence(gate: Gate) -> str:
    """The judgement in one sentence: all that is grave, or what else it comes to."""
    grave = [
        *([f"{f.counted(len(gate.failures), 'failure')} while measuring"] if gate.failures else []),
        *_those(gate, GateOutcome.REGRESSION, "slower beyond the margin"),
        *_those(gate, GateOutcome.LEAK, "memory leaks"),
    ]
    if grave:
        return "; ".join(grave)
    if gate.outcome is GateOutcome.PASS:
        leaks = "nothing leaks" if gate.ledgers else "leaks were not looked for"
        unjudged = [LEDGER_LABELS[of.ledger] for of in gate.ledgers if of.outcome is GateOutcome.NOT_JUDGED]
        leaks += f" ({', '.join(unjudged)} not judged)" if unjudged else ""
        return f"nothing is slower beyond the margin, and {leaks}"
    lighter = (
        *_those(gate, GateOutcome.NOT_CONFIRMED, "slower at first, but not when measured again"),
        *_those(gate, GateOutcome.INCONCLUSIVE, "could not be settled"),
    )
    return "; ".join(lighter) or "nothing was measured"


def _those(gate: Gate, outcome: GateOutcome, said: str) -> Iterator[str]:
    """What came to an outcome, behind the words for it."""
    whose = [s.scenario for s in gate.scenarios if s.outcome is outcome]
    whose += [LEDGER_LABELS[ledger.ledger] for ledger in gate.ledgers if ledger.outcome is outcome]
    if whose:
        yield f"{said}: {', '.join(whose)}"


def _scenarios(gate: Gate) -> Table:
    names = dict.fromkeys(compared.FIGURES[s.figure] for s in gate.scenarios)
    again = any(s.confirmation is not None for s in gate.scenarios)
    by = compared.pairs((s.change for s in gate.scenarios), "pair" if gate.comparison else "run")
    return Table(
        title=compared.capital(f"{' and '.join(names)}, seconds"),
        label="scenario",
        columns=(
            *((side,) for side in _SIDES),
            ("verdict",),
            *((("measured", "again"),) if again else ()),
            ("finds", "from"),
        ),
        groups=(tuple(_row(scenario, again=again) for scenario in gate.scenarios),),
        legend=f"ratio between two one-sided 95 % bounds, by {by}; margin {f.share_change(gate.margin)}; "
        "finds from: the least change that would be found four times in five",
    )


def _row(scenario: GatedScenario, *, again: bool) -> tuple[Cell, ...]:
    base, change, ratio, _ = compared.cells(scenario.change, f.table_seconds, 0.0)
    return (
        Cell(scenario.scenario),
        base,
        change,
        ratio,
        Cell(str(scenario.outcome), tone=_TONES[scenario.outcome]),
        *([_again(scenario)] if again else []),
        Cell(
            "" if scenario.detectable is None else f.ratio_change(1 + scenario.detectable),
            figure=True,
            tone="quiet",
        ),
    )


def _again(scenario: GatedScenario) -> Cell:
    again = scenario.confirmation
    if again is None or again.ratio is None:
        return Cell("")
    return Cell(f.ratio_change(again.ratio.point), spread=compared.ratio_bounds(again), figure=True)


def _reasons(gate: Gate) -> tuple[Line, ...]:
    """What a verdict rests on, where it is none to be passed over."""
    doubtful = (s for s in gate.scenarios if s.outcome is not GateOutcome.PASS)
    return _some([Line(s.scenario, s.reason, _TONES[s.outcome]) for s in doubtful])


def _leaks(gate: Gate) -> tuple[Line, ...]:
    return tuple(
        Line(LEDGER_LABELS[ledger.ledger], ledger.reason, _TONES[ledger.outcome]) for ledger in gate.ledgers
    )


def _failures(gate: Gate) -> tuple[Line, ...]:
    return _some([Line(failure.side, _failure(failure), "bad") for failure in gate.failures])


def _some(lines: Sequence[Line]) -> tuple[Line, ...]:
    more = len(lines) - _MOST_LINES
    rest = [Line("", f"and {more} more: gate.json has them all")] if more > 0 else []
    return (*lines[:_MOST_LINES], *rest)


def _failure(failure: FailedSwap) -> str:
    if failure.round is None:
        return failure.reason
    return f"{failure.scenario}, round {failure.round}: {failure.reason}"


def _differences(gate: Gate) -> tuple[Line, ...]:
    return compared.unlike(gate.comparison) if gate.comparison else ()


def _repeat(gate: Gate) -> tuple[Line, ...]:
    return (
        Line("command", join(gate.command)),
        *(Line("rows", folder) for folder in gate.runs),
    )

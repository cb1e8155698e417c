"""The gate's judgement: its sections in the order in which they are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from shlex import join
from typing import Final

from swapbench.base import figures as f
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.comparison import Comparison
from swapbench.compare.gate import FailedSwap, Gate, GatedScenario, GateOutcome
from swapbench.report.blocks import Cell, Line, Lines, Row, Section, Table, Tone
from swapbench.report.layout import capital, columns, made, row, section
from swapbench.report.sections import changes as compared
from swapbench.report.sections import served_by, source
from swapbench.report.sections.comparison import unlike

# Enough to see what is going on; gate.json has them all.
_MOST_LINES: Final = 20

# What columns are headed by: a gate's sides are never called A and B.
_SIDES: Final = columns("base", "change", "ratio")

TONES: Final[dict[GateOutcome, Tone]] = {
    GateOutcome.NOT_JUDGED: "quiet",
    GateOutcome.PASS: "good",
    GateOutcome.INCONCLUSIVE: "doubt",
    GateOutcome.NOT_CONFIRMED: "doubt",
    GateOutcome.LEAK: "bad",
    GateOutcome.REGRESSION: "bad",
    GateOutcome.FAILED: "bad",
}


def gate_title(gate: Gate) -> str:
    """What a report of it is headed by."""
    return f"swapbench gate: {gate.outcome}"


def gate_sections(gate: Gate) -> tuple[Section, ...]:
    """Every section that has something to say."""
    return made(SECTIONS, gate)


def _judged(gate: Gate) -> Section:
    """What decides: never left out."""
    facts, inside = gate.facts, "" if gate.facts.target == "scripted" else served_by(gate.facts)
    told = (
        Line("", judgement(gate), TONES[gate.outcome]),
        Line("experiment", f"{gate.title} ({source(facts)}; {facts.source_says})"),
        Line("change", gate.change),
        Line("against", gate.against),
        Line("machine", facts.machine + inside),
        Line("page cache", facts.page_cache),
    )
    # What a verdict rests on, where it is none to be passed over.
    doubtful = [s for s in gate.scenarios if s.outcome is not GateOutcome.PASS]
    why = [Line(s.scenario, s.reason, TONES[s.outcome]) for s in doubtful]
    leaks = (Line(LEDGER_LABELS[one.ledger], one.reason, TONES[one.outcome]) for one in gate.ledgers)
    failed = [Line(failure.side, failure_of(failure), "bad") for failure in gate.failures]
    return section(
        "judged",
        "",
        Lines("", told),
        _scenarios(gate),
        Lines("Why", _some(why)),
        Lines("Leaks", tuple(leaks)),
        Lines("Failed swaps", _some(failed)),
        Lines("Notes", tuple(Line("", note) for note in gate.notes)),
        decides=True,
    )


def judgement(gate: Gate) -> str:
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
        title=capital(f"{' and '.join(names)}, seconds"),
        label="scenario",
        columns=(*_SIDES, *columns("verdict", *(["measured\nagain"] if again else []), "finds\nfrom")),
        groups=(tuple(_row(scenario, again=again) for scenario in gate.scenarios),),
        legend=f"ratio between two one-sided 95 % bounds, by {by}; margin {f.share_change(gate.margin)}; "
        "finds from: the least change that would be found four times in five",
    )


def _row(scenario: GatedScenario, *, again: bool) -> Row:
    ratio = scenario.confirmation and scenario.confirmation.ratio
    return row(
        scenario.scenario,
        *compared.cells(scenario.change, f.table_seconds, 0.0)[:3],
        Cell(str(scenario.outcome), tone=TONES[scenario.outcome]),
        *([compared.ratio_cell(ratio) if ratio else ""] if again else []),
        compared.finds_from(scenario.detectable),
    )


def _some(lines: Sequence[Line]) -> tuple[Line, ...]:
    more = len(lines) - _MOST_LINES
    rest = [Line("", f"and {more} more: gate.json has them all")] if more > 0 else []
    return (*lines[:_MOST_LINES], *rest)


def failure_of(failure: FailedSwap) -> str:
    """Where it was, and why."""
    if failure.round is None:
        return failure.reason
    return f"{failure.scenario}, round {failure.round}: {failure.reason}"


def _explained(
    id_: str, title: str, found: Comparison | None, table_of: Callable[..., Table | None]
) -> Section:
    table = None if found is None else table_of(found, _SIDES, verdicts=False)
    return section(id_, title, replace(table, title=title) if table else None)


def _repeat(gate: Gate) -> Section:
    lines = (Line("command", join(gate.command)), *(Line("rows", folder) for folder in gate.runs))
    return section("repeat", "Repeat it", Lines("", lines))


_PHASES, _MEMORY = "Phases, seconds", "Memory"
SECTIONS: Final[tuple[Callable[[Gate], Section], ...]] = (
    _judged,
    lambda gate: _explained("phases", _PHASES, gate.comparison, compared.phases),
    lambda gate: _explained("memory", _MEMORY, gate.comparison, compared.memory),
    lambda gate: _explained("phases-again", f"{_PHASES}, measured again", gate.confirmation, compared.phases),
    lambda gate: _explained("memory-again", f"{_MEMORY}, measured again", gate.confirmation, compared.memory),
    lambda gate: section(
        "differs", "What differs", Lines("", unlike(gate.comparison) if gate.comparison else ())
    ),
    _repeat,
)

"""The gate's judgement, put together for terminal and Markdown; and written into a folder in every form."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import join
from typing import Final

from swapbench.analysis import figures as f
from swapbench.analysis.gate import Gate, GatedScenario, GateOutcome
from swapbench.files import write_atomically
from swapbench.report import comparison as compared
from swapbench.report.json_document import as_document
from swapbench.report.junit import to_junit
from swapbench.report.markdown import MOST_CHARACTERS, parts_to_markdown
from swapbench.report.shapes import Cell, Line, Part, Table, Tone

# 1: first published form.
GATE_VERSION: Final = 1

# By which a workflow finds its own comment again.
MARKER: Final = "<!-- swapbench-gate -->"

_TONES: Final[dict[GateOutcome, Tone]] = {
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
        Part("Leaks", lines=_leaks(gate)),
        Part("Failed swaps", lines=_failures(gate)),
        Part("Notes", lines=tuple(Line("", note) for note in gate.notes)),
    )
    return tuple(part for part in listed if part.lines or part.table)


def details(gate: Gate) -> tuple[Part, ...]:
    """What explains it: phases and memory, with intervals and without verdicts."""
    parts = [
        Part(heading, table=table)
        for found in (gate.comparison, gate.confirmation)
        if found is not None
        for heading, table in (
            ("", compared.phases(found, verdicts=False)),
            ("", compared.memory(found, verdicts=False)),
        )
        if table is not None
    ]
    return (*parts, Part("What differs", lines=_differences(gate)), Part("Repeat it", lines=_repeat(gate)))


def to_markdown(gate: Gate) -> str:
    """For a pull request: what decides, and the rest folded; under the size that GitHub takes."""
    head = f"{MARKER}\n{parts_to_markdown(title(gate), essence(gate))}"
    folded = _folded(details(gate), MOST_CHARACTERS - len(head))
    return f"{head}\n{folded}" if folded else head


def _folded(parts: Sequence[Part], room: int) -> str:
    kept = ""
    for part in parts:
        more = parts_to_markdown("", [part])
        if len(kept) + len(more) + 200 > room:
            kept += (
                "\nThere is more than a comment can hold: the rest is in gate.json and in the run's folder.\n"
            )
            break
        kept += f"\n{more}"
    return f"<details><summary>Phases, memory, what differs</summary>\n{kept}\n</details>\n" if kept else ""


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
        if ledger.outcome is not GateOutcome.PASS:
            yield _annotation(ledger.outcome, "memory", ledger.reason)
    for failure in gate.failures:
        yield _annotation(GateOutcome.FAILED, failure.scenario or "run", failure.reason)
    if gate.outcome is GateOutcome.PASS:
        yield "::notice title=swapbench::" + _escaped(f"{gate.experiment}: no scenario is slower")


def _annotation(outcome: GateOutcome, where: str, reason: str) -> str:
    level = "error" if _TONES[outcome] == "bad" else "warning"
    title_ = _escaped(f"swapbench {outcome}: {where}").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title_}::{_escaped(reason)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _facts(gate: Gate) -> tuple[Line, ...]:
    source = ", ".join(gate.facts.sources)
    return (
        Line("", _sentence(gate), _TONES[gate.outcome]),
        Line("experiment", f"{gate.title}, {source} models: {gate.facts.source_says}"),
        Line("change", gate.change),
        Line("against", gate.against),
        Line("machine", f"{gate.facts.machine}, MLX on {gate.facts.device or 'an unknown device'}"),
        Line("page cache", gate.facts.page_cache),
    )


def _sentence(gate: Gate) -> str:
    """The judgement in one sentence."""
    said = {
        GateOutcome.PASS: "nothing is slower beyond the margin, and nothing leaks",
        GateOutcome.INCONCLUSIVE: "nothing was found, but not everything could be settled",
        GateOutcome.NOT_CONFIRMED: "slower at first, but not when measured again",
        GateOutcome.LEAK: "memory leaks",
        GateOutcome.REGRESSION: "slower beyond the margin",
        GateOutcome.FAILED: "swaps failed",
    }[gate.outcome]
    guilty = [
        s.scenario for s in gate.scenarios if s.outcome is gate.outcome and s.outcome is not GateOutcome.PASS
    ]
    return f"{gate.outcome}: {said}" + (f": {', '.join(guilty)}" if guilty else "")


def _scenarios(gate: Gate) -> Table:
    names = dict.fromkeys(compared.FIGURES[s.figure] for s in gate.scenarios)
    return Table(
        title=f"{' and '.join(names)}, seconds",
        label="scenario",
        columns=(*_SIDES, ("verdict",), ("measured", "again"), ("finds", "from")),
        groups=(tuple(_row(scenario) for scenario in gate.scenarios),),
        legend=f"ratio between two one-sided 95 % bounds, margin {f.share_change(gate.margin)}; finds from: "
        "the least change that would be found four times in five",
    )


_SIDES: Final = (("base",), ("change",), ("ratio",))


def _row(scenario: GatedScenario) -> tuple[Cell, ...]:
    a, b, ratio, _ = compared.cells(scenario.change, f.table_seconds, 0.0)
    again = scenario.confirmation
    return (
        Cell(scenario.scenario),
        a,
        b,
        ratio,
        Cell(str(scenario.outcome), tone=_TONES[scenario.outcome]),
        Cell("")
        if again is None or again.ratio is None
        else Cell(f.ratio_change(again.ratio.point), figure=True),
        Cell("" if scenario.detectable is None else f.ratio_change(1 + scenario.detectable), tone="quiet"),
    )


def _leaks(gate: Gate) -> tuple[Line, ...]:
    return tuple(Line("", ledger.reason, _TONES[ledger.outcome]) for ledger in gate.ledgers)


def _failures(gate: Gate) -> tuple[Line, ...]:
    return tuple(
        Line(failure.side, f"{failure.scenario}, round {failure.round}: {failure.reason}", "bad")
        for failure in gate.failures
    )


def _differences(gate: Gate) -> tuple[Line, ...]:
    return compared.unlike(gate.comparison) if gate.comparison else ()


def _repeat(gate: Gate) -> tuple[Line, ...]:
    return (
        Line("command", join(gate.command)),
        *(Line("rows", folder) for folder in gate.runs),
    )

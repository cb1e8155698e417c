"""The gate's judgement in each form, and all of them written into a folder."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as Xml

from rich.console import Console

from swapbench.base.files import write_atomically
from swapbench.base.phases import LEDGER_LABELS
from swapbench.compare.gate import Gate, GateOutcome
from swapbench.report.render import as_document, markdown
from swapbench.report.render.terminal import heading, print_blocks
from swapbench.report.sections.gate import TONES, failure_of, gate_sections, gate_title, judgement

# 1: first published form.
GATE_VERSION: Final = 1

# By which a workflow finds its own comment again.
MARKER: Final = "<!-- swapbench-gate -->"


def print_gate(gate: Gate, console: Console) -> None:
    """For people at a terminal."""
    console.print(heading(gate_title(gate)))
    print_blocks(gate_sections(gate), console)


def to_markdown(gate: Gate) -> str:
    """For a pull request: what decides, and the rest folded; under the size that GitHub takes."""
    head = f"{MARKER}\n## {markdown.escape(gate_title(gate))}\n"
    return markdown.to_markdown(head, gate_sections(gate), "gate.json has it all")


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
        yield _annotation(GateOutcome.FAILED, failure.scenario or "run", failure_of(failure))
    if gate.outcome is GateOutcome.PASS:
        yield "::notice title=swapbench pass::" + _escaped(f"{gate.experiment}: {judgement(gate)}")


def _annotation(outcome: GateOutcome, where: str, reason: str) -> str:
    level = "error" if TONES[outcome] == "bad" else "warning"
    title_ = _escaped(f"swapbench {outcome}: {where}").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title_}::{_escaped(reason)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def to_junit(gate: Gate) -> str:
    """One suite, a case for every scenario, every ledger and every swap that failed.

    A regression or a leak is a failure, a failed swap an error; what could not be settled is skipped.
    """
    cases = list(_cases(gate))
    suite = Xml.Element(
        "testsuite",
        name=f"swapbench gate {gate.experiment}",
        time=f"{sum(float(case.get('time', 0)) for case in cases):.6f}",
        timestamp=gate.facts.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
    )
    properties = Xml.SubElement(suite, "properties")
    told = {"change": gate.change, "against": gate.against, "machine": gate.facts.machine}
    for name, value in (told | dict(gate.facts.versions)).items():
        Xml.SubElement(properties, "property", name=name, value=value)
    suite.extend(cases)
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    # As bytes first: of text, the declaration would name the locale's encoding.
    document: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def _cases(gate: Gate) -> Iterator[Xml.Element]:
    def case(name: str, outcome: GateOutcome, reason: str, seconds: float = 0.0) -> Xml.Element:
        about = {"classname": f"swapbench.{gate.experiment}", "name": name, "time": f"{seconds:.6f}"}
        of = Xml.Element("testcase", about)
        reason = "".join(sign if sign.isprintable() else " " for sign in reason)
        match outcome:
            case GateOutcome.PASS:
                Xml.SubElement(of, "system-out").text = reason
            case GateOutcome.REGRESSION | GateOutcome.LEAK:
                Xml.SubElement(of, "failure", message=reason, type=str(outcome)).text = reason
            case GateOutcome.FAILED:
                Xml.SubElement(of, "error", message=reason, type=str(outcome)).text = reason
            case _:
                Xml.SubElement(of, "skipped", message=f"{outcome}: {reason}")
        return of

    for scenario in gate.scenarios:
        seconds = scenario.change.b.point if scenario.change.b else 0.0
        yield case(scenario.scenario, scenario.outcome, scenario.reason, seconds)
    for ledger in gate.ledgers:
        yield case(f"memory: {ledger.ledger}", ledger.outcome, ledger.reason)
    for failure in gate.failures:
        name = "run" if failure.round is None else f"{failure.scenario}, round {failure.round}"
        yield case(f"{name}, {failure.side}" if failure.side else name, GateOutcome.FAILED, failure.reason)

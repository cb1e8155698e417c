"""The gate's judgement as JUnit XML, for CI systems that show tests."""

from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from swapbench.compare.gate import Gate, GateOutcome

_FAILURES = (GateOutcome.REGRESSION, GateOutcome.LEAK)


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
    for scenario in gate.scenarios:
        seconds = scenario.change.b.point if scenario.change.b else 0.0
        yield _case(gate, scenario.scenario, scenario.outcome, scenario.reason, seconds)
    for ledger in gate.ledgers:
        yield _case(gate, f"memory: {ledger.ledger}", ledger.outcome, ledger.reason)
    for failure in gate.failures:
        name = "run" if failure.round is None else f"{failure.scenario}, round {failure.round}"
        yield _case(
            gate, f"{name}, {failure.side}" if failure.side else name, GateOutcome.FAILED, failure.reason
        )


def _case(gate: Gate, name: str, outcome: GateOutcome, reason: str, seconds: float = 0.0) -> Xml.Element:
    case = Xml.Element("testcase", classname=f"swapbench.{gate.experiment}", name=name, time=f"{seconds:.6f}")
    reason = "".join(sign if sign.isprintable() else " " for sign in reason)
    if outcome in _FAILURES:
        Xml.SubElement(case, "failure", message=reason, type=str(outcome)).text = reason
    elif outcome is GateOutcome.FAILED:
        Xml.SubElement(case, "error", message=reason, type=str(outcome)).text = reason
    elif outcome is not GateOutcome.PASS:
        Xml.SubElement(case, "skipped", message=f"{outcome}: {reason}")
    else:
        Xml.SubElement(case, "system-out").text = reason
    return case

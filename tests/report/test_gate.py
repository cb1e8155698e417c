"""The gate's judgement, for people, for pull requests, for CI systems and for programs."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from rich.console import Console

from swapbench.base.figures import EN_DASH
from swapbench.compare.gate import FailedSwap, Gate, GateOutcome
from swapbench.report.gate import (
    GATE_VERSION,
    MARKER,
    annotations,
    print_gate,
    to_json,
    to_junit,
    to_markdown,
    write_reports,
)
from swapbench.report.sections.gate import gate_title
from tests.report.judged import LABELS, gate
from tests.report.test_forms import keys

HERE = Path(__file__).parent


def terminal(judged: Gate, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_gate(judged, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def failed(judged: Gate, *failures: FailedSwap) -> Gate:
    return replace(judged, outcome=GateOutcome.FAILED, failures=failures)


def calm(out: Path) -> Gate:
    """Nothing wrong."""
    return gate(out, 1.0, None, 0)


def test_a_gate_in_markdown(tmp_path: Path) -> None:
    assert to_markdown(gate(tmp_path)) == (HERE / "gate.md").read_text(encoding="utf-8")


def test_the_keys_of_the_json_document(tmp_path: Path) -> None:
    judged = failed(gate(tmp_path), FailedSwap("base", 1, "up", "it broke"))
    document: dict[str, Any] = json.loads(to_json(judged))
    assert document["gate_version"] == GATE_VERSION == 1
    document["facts"]["versions"] = {}
    # Documented with comparisons.
    assert document.pop("comparison")["paired"] is document.pop("confirmation")["paired"] is True
    expected = (HERE / "gate-json-keys.txt").read_text(encoding="utf-8").split()
    assert sorted(keys(document)) == expected


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_figure_is_cut_at_any_width(tmp_path: Path, width: int) -> None:
    text = terminal(gate(tmp_path), width)
    assert max(map(len, text.splitlines())) <= width
    for figure in (
        *("3.405", f"(3.370{EN_DASH}3.430)", "4.300", f"(4.261{EN_DASH}4.339)", "(+26 to +27 %)", "+5.7 %"),
        *("regression", "pass", "measured", "again", "7.45 GiB", "reconfigure", "(+29 to +31 %)"),
    ):
        assert figure in text


def test_sides_are_called_base_and_change_throughout(tmp_path: Path) -> None:
    judged = gate(tmp_path)
    for text in (terminal(judged), to_markdown(judged)):
        assert not re.search(r"\bB/A\b|[| ]A[| ] |[| ]B[| ] ", text)
        assert text.count("change") > 4
        assert LABELS[1] in text


def test_what_was_measured_again_has_its_own_column_and_tables_and_only_then(tmp_path: Path) -> None:
    assert "Phases, seconds, measured again" in to_markdown(gate(tmp_path))
    assert "measured again" not in to_markdown(calm(tmp_path))


def test_it_claims_of_leaks_only_what_was_looked_for(tmp_path: Path) -> None:
    judged = calm(tmp_path)
    assert "nothing is slower beyond the margin, and nothing leaks" in to_markdown(judged)
    unsoaked = replace(judged, ledgers=())
    assert "nothing is slower beyond the margin, and leaks were not looked for" in to_markdown(unsoaked)
    assert "### Leaks" not in to_markdown(unsoaked)


def test_all_that_is_grave_is_in_the_first_sentence(tmp_path: Path) -> None:
    judged = failed(gate(tmp_path), FailedSwap("base", 1, "up", "it broke"))
    said = (
        "1 failure while measuring; slower beyond the margin: up; memory leaks: MLX active, process footprint"
    )
    assert to_markdown(judged).splitlines()[3] == f"- {said}"
    assert gate_title(judged) == "swapbench gate: failed"


def test_what_is_not_settled_is_named(tmp_path: Path) -> None:
    doubtful = gate(tmp_path, 1.3, 1.0, 0)
    assert "slower at first, but not when measured again: up" in to_markdown(doubtful)
    undecided = replace(
        doubtful,
        outcome=GateOutcome.INCONCLUSIVE,
        scenarios=tuple(replace(s, outcome=GateOutcome.INCONCLUSIVE) for s in doubtful.scenarios),
    )
    assert "could not be settled: up, down" in to_markdown(undecided)


def test_a_run_that_broke_off_has_neither_scenario_nor_round(tmp_path: Path) -> None:
    judged = failed(calm(tmp_path), FailedSwap("soak", None, "", "the run broke off: no worker"))
    assert "- **soak**: the run broke off: no worker" in to_markdown(judged)
    assert '<testcase classname="swapbench.scripted" name="run, soak"' in to_junit(judged)
    assert "::error title=swapbench failed%3A run::the run broke off: no worker" in annotations(judged)


def test_a_comment_begins_with_its_marker_and_folds_what_explains(tmp_path: Path) -> None:
    text = to_markdown(gate(tmp_path))
    assert text.splitlines()[0] == MARKER == "<!-- swapbench-gate -->"
    before, _, folded = text.partition("<details><summary>")
    # GitHub reads Markdown within only after an empty line.
    assert folded.splitlines()[1] == ""
    assert text.endswith("</details>\n")
    assert "### Request → first token" in before
    assert "<summary>Phases, seconds</summary>" in text


@pytest.mark.parametrize("failures", [0, 2000])
def test_two_hundred_scenarios_fit_into_a_comment(tmp_path: Path, failures: int) -> None:
    judged = gate(tmp_path)
    assert judged.comparison is not None
    scenarios = tuple(
        replace(judged.scenarios[0], scenario=f"from-one-model-to-another-{n}") for n in range(200)
    )
    compared = replace(judged.comparison, scenarios=judged.comparison.scenarios * 100)
    broken = tuple(FailedSwap(LABELS[1], n, "up", "load failed: " + "é" * 200) for n in range(failures))
    text = to_markdown(
        replace(judged, scenarios=scenarios, comparison=compared, confirmation=compared, failures=broken)
    )
    assert len(text.encode()) < 65_536
    assert text.count("from-one-model-to-another-") >= 200
    assert "Left out, for a comment holds no more: Phases, seconds" in text
    assert text.endswith("; gate.json has it all.\n")
    # What is short is there all the same.
    assert "<summary>Repeat it</summary>" in text
    if failures:
        assert "and 1980 more: gate.json has them all" in text


def test_reports_are_written_whole_and_nothing_else(tmp_path: Path) -> None:
    judged = gate(tmp_path / "runs")
    write_reports(judged, tmp_path / "new" / "folder")
    written = {
        path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new" / "folder").iterdir()
    }
    assert written == {
        "gate.json": to_json(judged),
        "gate.md": to_markdown(judged),
        "gate.xml": to_junit(judged),
    }


def test_annotations_name_whatever_is_not_as_it_should_be(tmp_path: Path) -> None:
    lines = list(annotations(gate(tmp_path)))
    assert [line.partition("::slower")[0].partition("::leaks")[0] for line in lines] == [
        "::error title=swapbench regression%3A up",
        "::error title=swapbench leak%3A MLX active",
        "::error title=swapbench leak%3A process footprint",
    ]
    (line,) = annotations(gate(tmp_path, 1.3, 1.0, 0))
    assert line.startswith("::warning title=swapbench not confirmed%3A up::")
    (line,) = annotations(calm(tmp_path))
    assert line.startswith("::notice title=swapbench pass::scripted: nothing is slower")


def test_annotations_are_escaped_as_github_reads_them(tmp_path: Path) -> None:
    reason = "50 % of it, then\r\na line: the end"
    judged = replace(calm(tmp_path), outcome=GateOutcome.FAILED)
    judged = replace(judged, failures=(FailedSwap("base", 1, "up: a, b%", reason),))
    (line,) = annotations(judged)
    assert line == (
        "::error title=swapbench failed%3A up%3A a%2C b%25::"
        "up: a, b%25, round 1: 50 %25 of it, then%0D%0Aa line: the end"
    )


# What JUnit's readers agree on: of each element the attributes it must and may have, and its children.
JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "timestamp"},
        {"skipped", "hostname"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name", "classname", "time"},
        {"file", "line"},
        {"failure", "error", "skipped", "system-out"},
    ),
    "failure": ({"message", "type"}, set(), set()),
    "error": ({"message", "type"}, set(), set()),
    "skipped": (set(), {"message"}, set()),
    "system-out": (set(), set(), set()),
}


def check(element: Xml.Element) -> None:
    must, may, children = JUNIT[element.tag]
    assert must <= set(element.attrib) <= must | may, element.tag
    for child in element:
        assert child.tag in children
        check(child)


def suite(judged: Gate) -> Xml.Element:
    root = Xml.fromstring(to_junit(judged).encode())
    assert root.tag == "testsuites"
    check(root)
    (found,) = root
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(found.attrib[attribute]) == len(found.findall(f"testcase/{tag}"))
    assert int(found.attrib["tests"]) == len(found.findall("testcase"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", found.attrib["timestamp"])
    return found


def test_junit_has_a_case_for_every_scenario_ledger_and_failed_swap(tmp_path: Path) -> None:
    judged = failed(gate(tmp_path, 1.3, 1.0), FailedSwap(LABELS[0], 4, "down", "it broke"))
    found = suite(judged)
    assert [case.attrib["name"] for case in found.findall("testcase")] == [
        *("up", "down", "memory: mlx_active", "memory: mlx_cache", "memory: footprint"),
        f"down, round 4, {LABELS[0]}",
    ]
    counts = {name: found.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "1", "skipped": "1"}
    assert float(found.attrib["time"]) == pytest.approx(4.3 + 3.4, abs=0.01)
    told = {p.attrib["name"]: p.attrib["value"] for p in found.iter("property")}
    assert (told["change"], told["against"], told["mlx"]) == (LABELS[1], LABELS[0], "0.32.4")


def test_junit_of_a_gate_that_passes_has_no_failure(tmp_path: Path) -> None:
    found = suite(calm(tmp_path))
    assert [found.attrib[name] for name in ("tests", "failures", "errors", "skipped")] == ["5", "0", "0", "0"]


def test_junit_takes_whatever_a_message_holds(tmp_path: Path) -> None:
    reason = 'a <tag> & "quotes"\x1b[31m\x00\ufffe and\nnew lines, ü'
    found = suite(failed(calm(tmp_path), FailedSwap("", 0, "up", reason)))
    (error,) = found.findall("testcase/error")
    assert error.attrib["message"] == 'a <tag> & "quotes" [31m   and new lines, ü'
    assert to_junit(calm(tmp_path)).startswith("<?xml version='1.0' encoding='utf-8'?>\n")

"""What test.yml runs around the tests."""

import json
from typing import Final

import pytest

from swapbench.machine.selfcheck import Row, Selfcheck
from tests.workflows.reading import Step
from tests.workflows.running import SELFCHECK, Machine, runs

JUNIT: Final = """<testsuites>
<testsuite name="pytest" errors="0" failures="1" skipped="2" tests="30" time="4.6"/>
</testsuites>"""


@runs("test.yml", "Summarise")
def test_the_summary_counts_the_tests(machine: Machine, step: Step) -> None:
    (machine.workspace / "reports").mkdir()
    (machine.workspace / "reports" / "tests.xml").write_text(JUNIT)
    done = machine.run(step, MACHINE="macos-15")
    assert done.code == 0
    assert "Tests on macos-15" in done.summary
    assert "30 tests, 1 failures, 0 errors, 2 skipped, in 5 s" in done.summary


@runs("test.yml", "Summarise")
def test_the_summary_says_that_no_test_ran(machine: Machine, step: Step) -> None:
    assert "No test ran." in machine.run(step, MACHINE="macos-15").summary


@runs("test.yml", "Self-check")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("0", "2 right\n"),
        ("7", "1 right, 1 wrong\n- wrong: msync: 4 of 4 pages\n"),
        ("1", "It did not get to its end.\n"),
    ],
)
def test_what_is_wrong_on_the_machine_is_kept_and_told_and_fails(
    machine: Machine, step: Step, code: str, told: str
) -> None:
    machine.stand_in(machine.workspace / ".venv" / "bin" / "swapbench", SELFCHECK)
    done = machine.run(step, MACHINE="macos-26", STAND_IN_EXIT=code)
    assert done.code == int(code), done.said
    assert done.summary == f"## Self-check on macos-26\n\n{told}"
    kept = (machine.workspace / "reports" / "selfcheck-macos-26.json").read_text()
    if code != "1":
        assert set(json.loads(kept)) <= set(Selfcheck.model_fields)
        assert set(json.loads(kept)["rows"][0]) <= set(Row.model_fields)

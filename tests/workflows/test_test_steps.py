"""What test.yml runs around the tests."""

from typing import Final

from tests.workflows.reading import Step
from tests.workflows.running import Machine, runs

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

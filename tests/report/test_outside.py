"""Runs that were seen from outside a server: dashes where nothing can be known, in every form of report."""

import json
from pathlib import Path
from typing import Any

import pytest

from swapbench.compare.comparison import Side, compare_runs
from swapbench.findings import Findings, analyse, exit_code
from swapbench.findings.verdict import CriterionOutcome
from swapbench.report.forms import to_json, to_markdown
from swapbench.run.runner import follow, new_job
from swapbench.spec.experiment import CriterionKind, validate
from swapbench.store import Run, read
from swapbench.wire.events import Event
from swapbench.wire.plan import scripted_checkpoints
from tests.report.test_any_run import reports
from tests.worker.targets.http.standing import experiment, play, preset


class Nobody:
    """Looks at nothing."""

    def on(self, event: Event) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Seven rounds on a stand-in for ollama, which reports what it does; two requests in flight."""
    folder = tmp_path_factory.mktemp("outside")
    settings: dict[str, Any] = {
        "source": "hub",
        "rounds": 7,
        "workload": {"requests": 2, "decode_tokens": 4},
        "criterion": [{"kind": "bottleneck-identified"}, {"kind": "memory-reclaimed"}],
        "target": "ollama@http://127.0.0.1:1",
    }
    asked = validate(experiment(**settings), "test")
    job = new_job(asked, Path("outside.toml"), scripted_checkpoints(asked), folder, command=["test"])
    events = play(folder, preset("ollama", "--load-s", "0.02"), **settings)
    follow(events, job.writer, Nobody())
    return read(job.writer.folder)


@pytest.fixture(scope="module")
def findings(run: Run) -> Findings:
    """What is made of it."""
    return analyse(run)


def test_every_form_of_report_can_be_made(run: Run) -> None:
    assert "seen from outside" in " ".join(reports(run)["rich"].split())


def test_phases_that_nobody_can_see_have_no_row(findings: Findings) -> None:
    shown = to_markdown(findings)
    assert "| load |" not in shown
    assert "| unattributed |" not in shown
    assert "| **total** |" in shown or "| total |" in shown
    for scenario in json.loads(to_json(findings))["scenarios"]:
        assert not [phase for phase in scenario["phases"] if phase["seconds"] or phase["share"]]
        assert scenario["workload"]["drained_requests"] is scenario["workload"]["evicted_caches"] is None


def test_nothing_is_said_to_be_in_no_phase(findings: Findings) -> None:
    assert not [note for note in findings.notes if "in no phase" in note or "do not add up" in note]


def test_the_bottleneck_is_not_judged(findings: Findings) -> None:
    outcomes = {verdict.kind: verdict.outcome for verdict in findings.verdicts}
    assert outcomes[CriterionKind.BOTTLENECK_IDENTIFIED] is CriterionOutcome.NOT_JUDGED
    assert outcomes[CriterionKind.MEMORY_RECLAIMED] is CriterionOutcome.INCONCLUSIVE
    assert outcomes[CriterionKind.ALL_UNDER_TARGET] is CriterionOutcome.PASS
    assert exit_code(findings) == 0


def test_what_it_reports_stands_beside_what_the_client_felt(findings: Findings) -> None:
    for scenario in findings.scenarios:
        outside, felt = scenario.outside, scenario.to_first_token
        assert outside is not None
        assert outside.reported_load is not None
        assert outside.unreported is not None
        assert felt is not None
        assert outside.reported_load.point == pytest.approx(0.05)
        assert outside.unreported.point == pytest.approx(felt.point - 0.05, abs=0.01)
        assert outside.in_flight is not None
        assert outside.in_flight.point == 2
    assert "load, as reported | 0.050 s" in to_markdown(findings)
    assert any("load_duration: from the request's arrival" in note for note in findings.notes)


def test_memory_is_that_of_the_server_before_and_after_the_whole_swap(findings: Findings) -> None:
    ledgers = {ledger.ledger: ledger for ledger in findings.memory[0].ledgers}
    assert ledgers["footprint"].before is not None
    assert ledgers["footprint"].after is not None
    assert ledgers["footprint"].after_unload is None
    assert ledgers["mlx_active"].before is None


def test_two_such_runs_can_be_compared(run: Run) -> None:
    compared = compare_runs(Side("a", run), Side("b", run))
    assert compared.comparable
    assert {scenario.figure for scenario in compared.scenarios} == {"to_first_token"}

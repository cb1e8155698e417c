"""The original's published figures, through the same analysis as everybody's."""

from pathlib import Path

import pytest

from swapbench.base.errors import Exit
from swapbench.findings import Findings, analyse, exit_code
from swapbench.store import read

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "exp012-m4pro-24gb"
SCENARIOS = ("small-to-large", "large-to-large", "large-to-small")


@pytest.fixture(scope="module")
def findings() -> Findings:
    return analyse(read(REFERENCE))


def test_it_is_marked_as_transcribed_and_says_on_what_it_was_measured(findings: Findings) -> None:
    facts = findings.facts
    assert "EXP-012" in facts.transcribed_from
    assert "transcribed, not measured" in facts.source_says
    assert facts.machine == "Apple M4 Pro, 24 GiB, macOS"
    assert f"{facts.started_at:%Y-%m-%d}" == "2026-01-25"


def test_totals_are_those_published(findings: Findings) -> None:
    totals = {s.name: f"{s.total.point:.2f}" for s in findings.scenarios if s.total}
    assert totals == dict(zip(SCENARIOS, ("3.30", "5.38", "0.60"), strict=True))


def test_the_average_is_the_published_3_10_s(findings: Findings) -> None:
    totals = [s.total.point for s in findings.scenarios if s.total]
    assert f"{sum(totals) / len(totals):.2f}" == "3.10"


def test_loads_share_is_98_97_and_64_percent(findings: Findings) -> None:
    shares = {s.name: round(100 * s.bottleneck.share) for s in findings.scenarios if s.bottleneck}
    assert shares == dict(zip(SCENARIOS, (98, 97, 64), strict=True))
    assert {s.bottleneck.phase for s in findings.scenarios if s.bottleneck} == {"load"}


def test_phases_are_those_published_and_sum_to_the_total(findings: Findings) -> None:
    for scenario in findings.scenarios:
        seconds = [phase.seconds.point for phase in scenario.phases if phase.seconds]
        assert len(seconds) == 8
        assert scenario.total is not None
        assert sum(seconds) == pytest.approx(scenario.total.point)
    unloads = [round(s.phases[3].seconds.point, 3) for s in findings.scenarios if s.phases[3].seconds]
    assert unloads == [0.053, 0.068, 0.199]


def test_all_stay_under_30_s(findings: Findings) -> None:
    against = [s.against_target for s in findings.scenarios]
    assert all(found is not None and found.side == "under" for found in against)
    assert [round(found.factor, 1) for found in against if found] == [9.1, 5.6, 49.7]


def test_a_leak_is_not_measurable_from_one_round(findings: Findings) -> None:
    assert {leak.reason for leak in findings.leaks} == {"not measurable from one round"}
    assert [(str(v.kind), str(v.outcome)) for v in findings.verdicts] == [
        ("any-under-target", "pass"),
        ("bottleneck-identified", "pass"),
        ("no-leak", "inconclusive"),
    ]


def test_what_was_not_published_is_not_recorded_rather_than_zero(findings: Findings) -> None:
    for scenario in findings.scenarios:
        assert scenario.first_token is None
        assert scenario.load_gb_per_s is None
        assert scenario.resident_before is None
        assert scenario.workload.evicted_bytes is None
    assert not any(ledger.recorded for memory in findings.memory for ledger in memory.ledgers)


def test_it_exits_with_0_or_strictly_with_6(findings: Findings) -> None:
    assert (exit_code(findings), exit_code(findings, strict=True)) == (Exit.OK, Exit.INCONCLUSIVE)

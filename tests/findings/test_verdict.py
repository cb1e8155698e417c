"""Criteria and exit codes."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import Exit
from swapbench.findings import analyse, exit_code
from swapbench.findings.verdict import CriterionVerdict
from swapbench.spec.experiment import Source
from swapbench.wire.swap import Reading
from tests.findings.recording import Recording, reading

ANY = {"kind": "any-under-target"}
ALL = {"kind": "all-under-target"}
BOTTLENECK = {"kind": "bottleneck-identified"}
NO_LEAK = {"kind": "no-leak"}
MIB = 1 << 20


def recording(folder: Path, *criteria: dict[str, Any], **changes: Any) -> Recording:
    return Recording(folder, criterion=list(criteria), **changes)


def first(made: Recording) -> CriterionVerdict:
    return analyse(made.run()).verdicts[0]


def outcomes(made: Recording) -> dict[str, str]:
    return {verdict.kind: verdict.outcome for verdict in analyse(made.run()).verdicts}


def codes(made: Recording, status: str = "complete", **changes: Any) -> tuple[Exit, Exit]:
    findings = analyse(made.run(status, **changes))
    return exit_code(findings), exit_code(findings, strict=True)


def leaking(made: Recording, rounds: int = 10) -> Recording:
    for number in range(rounds):
        for position, scenario in enumerate(("up", "down")):
            beyond = 5 * MIB * (2 * number + position)
            made.swap(number, scenario, settled=reading(10**9 + beyond))
    return made


def settled(made: Recording, rounds: int = 10, load_s: float = 3.0) -> Recording:
    for number in range(rounds):
        for scenario in ("up", "down"):
            made.swap(number, scenario, {"load": load_s}, settled=reading(10**9))
    return made


def test_one_scenario_under_the_target_is_enough_for_any_and_not_for_all(tmp_path: Path) -> None:
    made = recording(tmp_path, ANY, ALL, target_s=4.0)
    made.swap(0, "up", {"load": 3.0})
    made.swap(0, "down", {"load": 5.0})
    found = outcomes(made)
    assert (found["any-under-target"], found["all-under-target"]) == ("pass", "fail")


def test_the_reason_tells_the_margin_and_what_the_number_of_swaps_supports(tmp_path: Path) -> None:
    made = settled(recording(tmp_path, ALL), load_s=3.0)
    assert first(made).reason == (
        "up takes 3.00 s, 10.0\N{MULTIPLICATION SIGN} under 30 s; "
        "10 of 10 swaps under supports 74 % reliability at 95 % confidence"
    )


@pytest.mark.parametrize(
    ("criterion", "up_s", "outcome"),
    [(ANY, 3.0, "pass"), (ANY, 5.0, "inconclusive"), (ALL, 3.0, "inconclusive"), (ALL, 5.0, "fail")],
)
def test_a_scenario_that_was_not_measured_counts_only_where_it_could_turn_the_verdict(
    tmp_path: Path, criterion: dict[str, str], up_s: float, outcome: str
) -> None:
    made = recording(tmp_path, criterion, target_s=4.0)
    made.swap(0, "up", {"load": up_s})
    assert first(made).outcome == outcome


def test_mini_models_never_get_a_verdict_about_the_target(tmp_path: Path) -> None:
    made = settled(recording(tmp_path, ANY, source=Source.MINI))
    verdict = first(made)
    assert verdict.outcome == "not judged"
    assert "mini models" in verdict.reason
    assert codes(made) == (Exit.OK, Exit.OK)


def test_mini_models_over_the_target_miss_none(tmp_path: Path) -> None:
    assert codes(settled(recording(tmp_path, source=Source.MINI, target_s=1.0)))[0] == Exit.OK


def test_the_bottleneck_is_identified_when_one_phase_leads_in_every_swap(tmp_path: Path) -> None:
    made = recording(tmp_path, BOTTLENECK)
    made.swap(0, "up", {"load": 3.0, "unload": 1.0})
    made.swap(0, "down", {"load": 1.0, "unload": 3.0})
    verdict = first(made)
    assert verdict.outcome == "pass"
    assert verdict.reason == "load takes 75 % of up; unload takes 75 % of down"


def test_no_bottleneck_is_identified_where_the_lead_changes_from_swap_to_swap(tmp_path: Path) -> None:
    made = recording(tmp_path, BOTTLENECK)
    for number, (load_s, unload_s) in enumerate([(3.0, 1.0), (1.0, 2.0), (3.0, 2.0)]):
        made.swap(number, "up", {"load": load_s, "unload": unload_s})
        made.swap(number, "down")
    verdict = first(made)
    assert verdict.outcome == "inconclusive"
    assert "load is the longest in only 2 of 3 swaps" in verdict.reason


def test_no_bottleneck_is_identified_where_most_of_the_time_is_in_no_phase(tmp_path: Path) -> None:
    made = recording(tmp_path, BOTTLENECK)
    made.swap(0, "up", {"load": 1.0}, total_s=4.0, unattributed_s=3.0)
    made.swap(0, "down")
    verdict = first(made)
    assert verdict.outcome == "inconclusive"
    assert "75 % of the swap is in no phase" in verdict.reason


def test_a_target_and_leaks_are_judged_even_where_no_criterion_asks(tmp_path: Path) -> None:
    verdicts = analyse(settled(recording(tmp_path, BOTTLENECK)).run()).verdicts
    assert [(v.kind, v.declared) for v in verdicts] == [
        ("bottleneck-identified", True),
        ("all-under-target", False),
        ("no-leak", False),
    ]


def test_all_is_well(tmp_path: Path) -> None:
    assert codes(settled(recording(tmp_path, ANY, BOTTLENECK, NO_LEAK))) == (Exit.OK, Exit.OK)


def test_where_only_the_machines_memory_is_known_no_leak_is_judged(tmp_path: Path) -> None:
    made = recording(tmp_path, NO_LEAK)
    for scenario in ("up", "down"):
        made.swap(0, scenario, settled=Reading(system_available_bytes=10**9))
    assert first(made).reason == "no memory of its own was recorded, and the machine's is not judged"
    assert codes(made) == (Exit.OK, Exit.INCONCLUSIVE)


def test_a_missed_target_exits_with_4(tmp_path: Path) -> None:
    assert codes(settled(recording(tmp_path, ALL), load_s=31.0))[0] == Exit.TARGET_MISSED


def test_a_median_over_the_target_exits_with_4_though_no_criterion_asks(tmp_path: Path) -> None:
    assert codes(settled(recording(tmp_path), load_s=31.0))[0] == Exit.TARGET_MISSED


def test_a_leak_exits_with_5_and_outweighs_a_missed_target(tmp_path: Path) -> None:
    made = leaking(recording(tmp_path, ALL, NO_LEAK, target_s=1.0))
    assert outcomes(made) == {"all-under-target": "fail", "no-leak": "fail"}
    assert codes(made) == (Exit.LEAK, Exit.LEAK)


def test_a_leak_within_the_tolerance_of_the_experiment_is_none(tmp_path: Path) -> None:
    made = leaking(recording(tmp_path, NO_LEAK, leak_tolerance_bytes=6 * MIB))
    assert codes(made) == (Exit.OK, Exit.OK)


def test_a_failed_swap_exits_with_7_and_outweighs_a_leak(tmp_path: Path) -> None:
    made = leaking(recording(tmp_path, NO_LEAK))
    made.failed_swap(11, "up")
    assert codes(made) == (Exit.FAILED, Exit.FAILED)


def test_a_swap_that_was_rolled_back_failed_too(tmp_path: Path) -> None:
    made = settled(recording(tmp_path))
    made.failed_swap(11, "up", status="rolled_back")
    assert codes(made)[0] == Exit.FAILED


def test_a_run_that_broke_off_exits_with_7_though_no_swap_failed(tmp_path: Path) -> None:
    made = settled(recording(tmp_path))
    assert codes(made, "incomplete", failure="the worker could not start")[0] == Exit.FAILED


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_run_that_was_cut_short_is_inconclusive(tmp_path: Path, status: str) -> None:
    assert codes(settled(recording(tmp_path)), status) == (Exit.OK, Exit.INCONCLUSIVE)


def test_an_inconclusive_leak_is_said_and_exits_with_0_or_strictly_with_6(tmp_path: Path) -> None:
    made = leaking(recording(tmp_path, NO_LEAK), rounds=3)
    assert first(made).reason == (
        "not decided by 3 rounds, about 12 needed: MLX active, MLX cache, process footprint"
    )
    assert codes(made) == (Exit.OK, Exit.INCONCLUSIVE)


def test_an_invalid_swap_counts_only_strictly(tmp_path: Path) -> None:
    made = settled(recording(tmp_path))
    made.swap(11, "up", valid=False, invalid_reason="labelled warm, was cold")
    assert codes(made) == (Exit.OK, Exit.INCONCLUSIVE)


def test_what_no_criterion_asks_is_not_held_against_a_run_that_is_merely_short(tmp_path: Path) -> None:
    made = recording(tmp_path, ANY)
    made.swap(0, "up")
    made.swap(0, "down")
    assert codes(made) == (Exit.OK, Exit.OK)

"""Whether a change may pass: what each outcome takes, and what it exits with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import Exit
from swapbench.compare.gate import (
    Gate,
    GateOutcome,
    Soak,
    exit_code,
    judge_history,
    judge_pairs,
    seems_to_leak,
)
from swapbench.compare.history import read_history
from swapbench.store import Run
from tests.played import a_run, as_if, loads, pairs, past
from tests.scripted import raw_experiment, scripted

TEN: dict[str, Any] = {"rounds": 10, "warmup": 1}
NOISE = [3.00, 3.02, 2.98, 3.01, 2.99, 3.03, 2.97, 3.00, 3.02, 2.98, 3.01]
LABELS = ("base 1a2b3c4d", "working tree at 5e6f7a8b")
LEAK_BYTES = 50_000_000


def measured(out: Path, factor: float = 1.0, **changes: Any) -> Run:
    """A pair run in which the change's load of `up` takes that many times as long."""
    both = TEN | changes
    slow = loads("up", [factor * load_s for load_s in reversed(NOISE)])
    return pairs(out, scripted(loads("up", NOISE), **both), scripted(slow, **both), LABELS)


def soaked(out: Path, leak_bytes: int = 0, rounds: int = 24, **changes: Any) -> Run:
    script = raw_experiment()["script"] | {"leak_bytes": leak_bytes}
    return a_run(out, rounds=rounds, script=script, **changes)


def outcomes(gate: Gate) -> dict[str, GateOutcome]:
    return {s.scenario: s.outcome for s in gate.scenarios} | {
        ledger.ledger: ledger.outcome for ledger in gate.ledgers
    }


def codes(gate: Gate) -> tuple[Exit, Exit]:
    return exit_code(gate), exit_code(gate, fail_inconclusive=True)


def test_no_change_passes(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path), None, Soak(soaked(tmp_path)), None)
    assert gate.outcome is GateOutcome.PASS
    assert set(outcomes(gate)) == {"up", "down", "mlx_active", "mlx_cache", "footprint"}
    assert set(outcomes(gate).values()) == {GateOutcome.PASS}
    assert codes(gate) == (Exit.OK, Exit.OK)
    assert (gate.against, gate.change, gate.margin) == (*LABELS, 0.05)
    assert "no worse than" in gate.scenarios[0].reason


def test_what_is_slower_twice_is_a_regression(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path, 1.3), measured(tmp_path, 1.3), None, None)
    assert outcomes(gate) == {"up": GateOutcome.REGRESSION, "down": GateOutcome.PASS}
    assert codes(gate) == (Exit.REGRESSION, Exit.REGRESSION)
    assert gate.scenarios[0].reason.startswith("slower: +26 %, at least +2")
    assert "10 pairs, margin +5 %; measured again: slower: +26 %" in gate.scenarios[0].reason
    assert len(gate.runs) == 2


def test_what_is_slower_once_is_not_confirmed(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path, 1.3), measured(tmp_path), None, None)
    assert gate.outcome is GateOutcome.NOT_CONFIRMED
    assert codes(gate) == (Exit.OK, Exit.INCONCLUSIVE)
    assert "measured again: 0 %, no worse than" in gate.scenarios[0].reason


def test_where_nothing_was_measured_again_once_is_enough(tmp_path: Path) -> None:
    assert judge_pairs(measured(tmp_path, 1.3), None, None, None).outcome is GateOutcome.REGRESSION


def test_a_margin_that_is_given_holds_instead_of_the_experiment_s(tmp_path: Path) -> None:
    assert judge_pairs(measured(tmp_path, 1.3), None, None, 0.5).outcome is GateOutcome.PASS
    wide = measured(tmp_path, 1.3, gate={"margin": 0.5})
    assert judge_pairs(wide, None, None, None).outcome is GateOutcome.PASS


def test_few_pairs_are_inconclusive_and_say_how_many_are_wanted(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path, 1.3, rounds=5), None, None, None)
    assert gate.outcome is GateOutcome.INCONCLUSIVE
    assert gate.scenarios[0].reason == "5 pairs to judge by, 6 wanted"
    assert codes(gate) == (Exit.OK, Exit.INCONCLUSIVE)


def test_what_may_be_chance_among_several_scenarios_is_inconclusive_and_says_so(tmp_path: Path) -> None:
    scenario = [{"name": f"up-{n}", "from": "small", "to": "large"} for n in range(4)]
    six: dict[str, Any] = {"rounds": 6, "warmup": 0, "scenario": scenario}
    slow = scripted([{"scenario": "up-0", "seconds": {"load": 3.9}}], **six)
    gate = judge_pairs(pairs(tmp_path, scripted(**six), slow), None, None, None)
    assert outcomes(gate)["up-0"] is GateOutcome.INCONCLUSIVE
    assert gate.scenarios[0].reason.endswith("but of several scenarios one may look so by chance")


def test_a_leak_of_the_change_alone_is_a_leak(tmp_path: Path) -> None:
    soak = soaked(tmp_path, LEAK_BYTES)
    assert seems_to_leak(soak)
    gate = judge_pairs(measured(tmp_path), None, Soak(soak, soaked(tmp_path)), None)
    assert outcomes(gate)["mlx_active"] is outcomes(gate)["footprint"] is GateOutcome.LEAK
    assert outcomes(gate)["mlx_cache"] is GateOutcome.PASS
    assert codes(gate) == (Exit.LEAK, Exit.LEAK)
    (reason,) = [ledger.reason for ledger in gate.ledgers if ledger.ledger == "mlx_active"]
    assert reason.startswith("leaks: +47.7 MiB a swap")
    assert "; the base: 0 B a swap" in reason


def test_a_leak_that_the_base_has_too_is_said_and_fails_nothing(tmp_path: Path) -> None:
    soak = Soak(soaked(tmp_path, LEAK_BYTES), soaked(tmp_path, LEAK_BYTES))
    gate = judge_pairs(measured(tmp_path), None, soak, None)
    assert gate.outcome is GateOutcome.INCONCLUSIVE
    assert any(ledger.reason.startswith("leaks, as the base does") for ledger in gate.ledgers)
    assert codes(gate) == (Exit.OK, Exit.INCONCLUSIVE)


def test_a_leak_that_is_larger_than_the_base_s_is_a_leak(tmp_path: Path) -> None:
    soak = Soak(soaked(tmp_path, 2 * LEAK_BYTES), soaked(tmp_path, LEAK_BYTES))
    gate = judge_pairs(measured(tmp_path), None, soak, None)
    assert gate.outcome is GateOutcome.LEAK
    assert any(ledger.reason.startswith("leaks more than the base") for ledger in gate.ledgers)


def test_the_gate_s_own_tolerance_holds_instead_of_the_experiment_s(tmp_path: Path) -> None:
    assert not seems_to_leak(soaked(tmp_path, LEAK_BYTES, gate={"tolerance_bytes": 60_000_000}))


def test_a_soak_too_short_to_tell_is_inconclusive(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path), None, Soak(soaked(tmp_path, rounds=3)), None)
    assert gate.outcome is GateOutcome.INCONCLUSIVE


def test_ledgers_that_nobody_sees_of_a_server_leave_the_others_their_verdict(tmp_path: Path) -> None:
    soak = soaked(tmp_path)
    unseen = dict.fromkeys(("settled_mlx_active_bytes", "settled_mlx_cache_bytes"), float("nan"))
    outside = replace(soak, swaps=tuple({**row, **unseen} for row in soak.swaps))
    gate = judge_pairs(measured(tmp_path), None, Soak(outside), None)
    assert [ledger.ledger for ledger in gate.ledgers] == ["footprint"]
    assert gate.outcome is GateOutcome.PASS


def test_a_regression_is_graver_than_a_leak(tmp_path: Path) -> None:
    gate = judge_pairs(measured(tmp_path, 1.3), None, Soak(soaked(tmp_path, LEAK_BYTES)), None)
    assert exit_code(gate) is Exit.REGRESSION
    assert GateOutcome.LEAK in outcomes(gate).values()


def test_failed_swaps_win_over_everything_and_name_their_side(tmp_path: Path) -> None:
    failing = {"scenario": "down", "round": 3, "fails_in": "load"}
    slow = scripted([*loads("up", [3.9] * 11), failing], **TEN)
    run = pairs(tmp_path, scripted(loads("up", NOISE), **TEN), slow, LABELS)
    gate = judge_pairs(run, None, Soak(soaked(tmp_path, LEAK_BYTES)), None)
    assert gate.outcome is GateOutcome.FAILED
    assert codes(gate) == (Exit.FAILED, Exit.FAILED)
    (failure,) = gate.failures
    assert (failure.side, failure.round, failure.scenario) == (LABELS[1], 3, "down")
    assert "the script fails down here" in failure.reason


def test_a_swap_that_failed_in_the_soak_counts_too(tmp_path: Path) -> None:
    soak = a_run(tmp_path, [{"scenario": "up", "round": 7, "fails_in": "unload"}], rounds=24)
    gate = judge_pairs(measured(tmp_path), None, Soak(soak), None)
    assert [(f.side, f.round) for f in gate.failures] == [("soak", 7)]


def test_a_run_that_broke_off_is_a_failure(tmp_path: Path) -> None:
    run = measured(tmp_path)
    broken = replace(run, info=run.info.model_copy(update={"status": "incomplete", "failure": "it is gone"}))
    gate = judge_pairs(broken, None, None, None)
    assert gate.outcome is GateOutcome.FAILED
    assert [(f.round, f.reason) for f in gate.failures] == [(None, "the run broke off: it is gone")]


def day(out: Path, factor: float = 1.0, **changes: Any) -> Run:
    """A run of one thing, on some day."""
    return a_run(out, loads("up", [factor * load_s for load_s in NOISE]), **(TEN | changes))


DAYS = [1.0, 1.01, 0.99, 1.005, 0.995, 1.01, 0.99, 1.0, 1.005, 0.995]


def test_a_run_like_its_history_passes(tmp_path: Path) -> None:
    run = day(tmp_path)
    gate = judge_history(run, None, None, None, "nightly", past(run, DAYS))
    assert outcomes(gate) == {"up": GateOutcome.PASS, "down": GateOutcome.PASS}
    assert gate.scenarios[0].change.ratio is not None
    assert gate.scenarios[0].change.ratio.n == 10
    assert gate.against == 'baseline "nightly": 10 runs alike, of 10'
    assert any("a stored history knows no machine as it is today" in note for note in gate.notes)


def test_a_run_slower_than_its_history_is_a_regression_once_it_is_so_again(tmp_path: Path) -> None:
    usual = day(tmp_path)
    slow = as_if(day(tmp_path, 1.3), usual)
    history = past(usual, DAYS)
    twice = judge_history(slow, slow, None, None, "nightly", history)
    assert outcomes(twice) == {"up": GateOutcome.REGRESSION, "down": GateOutcome.PASS}
    assert exit_code(twice) is Exit.REGRESSION
    once = judge_history(slow, usual, None, None, "nightly", history)
    assert outcomes(once)["up"] is GateOutcome.NOT_CONFIRMED


def test_fewer_than_ten_runs_of_history_settle_nothing(tmp_path: Path) -> None:
    run = day(tmp_path, 1.0)
    for n in (0, 9):
        gate = judge_history(run, None, None, None, "nightly", past(run, DAYS[:n]))
        assert gate.outcome is GateOutcome.INCONCLUSIVE
        assert gate.scenarios[0].reason == f"{n} runs to judge by, 10 wanted"
        assert gate.scenarios[0].detectable is None
        assert codes(gate) == (Exit.OK, Exit.INCONCLUSIVE)


def test_a_history_that_scatters_is_inconclusive(tmp_path: Path) -> None:
    run = day(tmp_path)
    gate = judge_history(run, None, None, None, "nightly", past(run, [1.0, 1.5, 0.7] * 4))
    assert outcomes(gate)["up"] is GateOutcome.INCONCLUSIVE
    assert gate.scenarios[0].detectable is not None
    assert gate.scenarios[0].detectable > 0.5


def test_the_history_of_another_fingerprint_does_not_count_and_it_says_why(tmp_path: Path) -> None:
    run = day(tmp_path)
    alike = past(run, DAYS)
    print_ = alike.points[0].fingerprint
    unlike = tuple((what, "Apple M9" if what == "machine" else said) for what, said in print_)
    other = past(run, [0.1] * 10, fingerprint=unlike)
    both = replace(alike, points=(*other.points, *alike.points))
    gate = judge_history(run, None, None, None, "nightly", both)
    assert outcomes(gate)["up"] is GateOutcome.PASS
    alone = judge_history(run, None, None, None, "nightly", other)
    assert alone.against == 'baseline "nightly": 0 runs alike, of 10'
    assert alone.scenarios[0].reason == "0 runs to judge by, 10 wanted"
    said = "up: 10 kept runs can't be compared; the latest of them, day-9, differs in machine: Apple M9 "
    assert [note.startswith(said) for note in alone.notes].count(True) == 1


def test_a_run_is_not_judged_by_itself(tmp_path: Path) -> None:
    run = day(tmp_path)
    itself = read_history([tmp_path], "scripted").points
    history = past(run, DAYS[:9])
    gate = judge_history(
        run, None, None, None, "nightly", replace(history, points=(*history.points, *itself))
    )
    assert gate.scenarios[0].reason == "9 runs to judge by, 10 wanted"
    assert "9 runs alike" in gate.against


def test_history_of_another_figure_does_not_count(tmp_path: Path) -> None:
    run = day(tmp_path)
    history = past(run, DAYS)
    totals = tuple(replace(p, setting=replace(p.setting, figure="total")) for p in history.points)
    gate = judge_history(run, None, None, None, "nightly", replace(history, points=totals))
    assert gate.outcome is GateOutcome.INCONCLUSIVE


def test_all_scenarios_of_a_history_are_held_to_one_level(tmp_path: Path) -> None:
    """What is beyond doubt in one scenario alone may be chance in one of six."""
    names = [f"up-{n}" for n in range(6)]
    scenario = [{"name": name, "from": "small", "to": "large"} for name in names]
    usual = a_run(tmp_path, scenario=scenario, rounds=3)
    history = past(usual, [1.0, 1.02, 0.98, 1.01, 0.99] * 2)
    slow = as_if(
        a_run(tmp_path, [{"scenario": "up-0", "seconds": {"load": 3.31}}], scenario=scenario, rounds=3), usual
    )
    six = judge_history(slow, None, None, None, "nightly", history).scenarios[0].change
    assert six.p is not None
    assert six.p / 6 <= 0.05 < six.p
    assert six.verdict == "inconclusive"


def test_a_scenario_without_a_swap_that_counts_is_inconclusive_and_not_left_out(tmp_path: Path) -> None:
    usual = day(tmp_path)
    run = replace(usual, swaps=tuple({**row, "valid": row["scenario"] != "up"} for row in usual.swaps))
    gate = judge_history(run, None, None, None, "nightly", past(usual, DAYS))
    assert outcomes(gate) == {"up": GateOutcome.INCONCLUSIVE, "down": GateOutcome.PASS}
    assert gate.scenarios[0].reason == "no swap of the change counts"


def test_a_run_that_broke_off_has_failed_by_its_history_too(tmp_path: Path) -> None:
    usual = day(tmp_path)
    broken = replace(
        usual, info=usual.info.model_copy(update={"status": "incomplete", "failure": "no worker"})
    )
    gate = judge_history(broken, None, None, None, "nightly", past(usual, DAYS))
    assert gate.outcome is GateOutcome.FAILED
    assert exit_code(gate) is Exit.FAILED


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (GateOutcome.PASS, (Exit.OK, Exit.OK)),
        (GateOutcome.INCONCLUSIVE, (Exit.OK, Exit.INCONCLUSIVE)),
        (GateOutcome.NOT_CONFIRMED, (Exit.OK, Exit.INCONCLUSIVE)),
        (GateOutcome.LEAK, (Exit.LEAK, Exit.LEAK)),
        (GateOutcome.REGRESSION, (Exit.REGRESSION, Exit.REGRESSION)),
        (GateOutcome.FAILED, (Exit.FAILED, Exit.FAILED)),
    ],
)
def test_every_outcome_has_its_exit_code(
    tmp_path: Path, outcome: GateOutcome, expected: tuple[Exit, Exit]
) -> None:
    gate = judge_pairs(measured(tmp_path, rounds=6), None, None, None)
    assert codes(replace(gate, outcome=outcome)) == expected
